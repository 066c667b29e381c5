"""The strategies by name. A new strategy is one file and one line here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perennial.memory.samplers.registry import SAMPLERS
from perennial.storage.base import build
from perennial.storage.registry import Registry

if TYPE_CHECKING:
    from perennial.replay.strategies.base import Strategy

SAMPLED = "perennial.replay.strategies.baselines:Sampled"
"""The class of every sampler's strategy."""

STRATEGIES: "Registry[type[Strategy]]" = Registry(
    "strategy",
    {
        "individual": "perennial.replay.strategies.baselines:Individual",
        "active": "perennial.replay.strategies.baselines:Active",
        "joint": "perennial.replay.strategies.baselines:Joint",
        "finetune": "perennial.replay.strategies.baselines:Finetune",
        "distill-cf": "perennial.replay.strategies.distill_cf:DistillCF",
        "ader": "perennial.replay.strategies.ader:Ader",
        "distill-ader": "perennial.replay.strategies.distill_cf:DistillAder",
        **dict.fromkeys(SAMPLERS, SAMPLED),
    },
    group="perennial.strategies",
)
"""Name on the command line -> class that is the `Strategy`; a dataclass if it has settings."""

DEFAULT_STRATEGIES = ("individual", "joint", "distill-cf")
"""Strategies of a replay for which none is named."""

STUDY_STRATEGIES = ("individual", "joint", "ader", "distill-cf", "user-rns")
"""The paper's comparison, and random users as the memory that any other has to beat."""


def make_strategy(name: str, settings: Mapping[str, Any] | None = None) -> "Strategy":
    """Build a strategy with fields of its dataclass that differ from the defaults.

    An unknown strategy or setting, and a value that does not fit, are a `UserError`.
    """
    fixed = {"sampler": name} if name in SAMPLERS else {}
    given = {**(settings or {}), **fixed}
    strategy: Strategy = build("strategy", name, STRATEGIES.load(name), given, "training_rows")
    return strategy
