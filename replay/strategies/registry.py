"""The strategies by name. A new strategy is one file and one line here."""

import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.settings import build
from perennial.storage.errors import UserError

if TYPE_CHECKING:
    from perennial.replay.strategies.base import Strategy

SAMPLED = "perennial.replay.strategies.sampled:Sampled"
"""The class of every sampler's strategy."""

STRATEGIES: Mapping[str, str] = {
    "individual": "perennial.replay.strategies.baselines:Individual",
    "joint": "perennial.replay.strategies.baselines:Joint",
    "finetune": "perennial.replay.strategies.baselines:Finetune",
    "distill-cf": "perennial.replay.strategies.distill_cf:DistillCF",
    "ader": "perennial.replay.strategies.ader:Ader",
    "distill-ader": "perennial.replay.strategies.distill_ader:DistillAder",
    **dict.fromkeys(SAMPLERS, SAMPLED),
}
"""Name on the command line -> class that is the `Strategy`; a dataclass if it has settings."""

DEFAULT_STRATEGIES = ("individual", "joint", "distill-cf")
"""Replayed where none is named."""

STUDY_STRATEGIES = ("individual", "joint", "ader", "distill-cf", "user-rns")
"""The paper's comparison, and random users as the memory that any other has to beat."""


def make_strategy(name: str, settings: Mapping[str, Any] | None = None) -> "Strategy":
    """Build a strategy.

    Args:
        name: a key of `STRATEGIES`.
        settings: fields of its dataclass that differ from its defaults.

    Raises:
        UserError: unknown strategy, unknown setting, or a value that does not fit.
    """
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy '{name}'; choose from {', '.join(sorted(STRATEGIES))}")
    strategy_class = pkgutil.resolve_name(STRATEGIES[name])
    fixed = {"sampler": name} if name in SAMPLERS else {}
    return cast("Strategy", build("strategy", name, strategy_class, {**(settings or {}), **fixed}))
