"""Perennial: recommenders refitted period by period, with a memory of synthetic users.

docs/python.md shows the library by examples. A name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perennial.replay.python.estimators import (
        MF,
        MVAE,
        Bias,
        Ease,
        InfiniteAE,
        LightGCN,
        NeuMF,
        Pop,
        estimator,
    )
    from perennial.replay.python.live_store import open_store
    from perennial.replay.python.log import open_log
    from perennial.replay.python.model import distill, fit
    from perennial.replay.python.run import replay
    from perennial.storage.errors import UserError

__all__ = [
    "MF",
    "MVAE",
    "Bias",
    "Ease",
    "InfiniteAE",
    "LightGCN",
    "NeuMF",
    "Pop",
    "UserError",
    "distill",
    "estimator",
    "fit",
    "open_log",
    "open_store",
    "replay",
]

_PLACES = {
    "UserError": "storage.errors",
    "distill": "replay.python.model",
    "fit": "replay.python.model",
    "open_log": "replay.python.log",
    "open_store": "replay.python.live_store",
    "replay": "replay.python.run",
}
"""Name -> the module that defines it; the other names are estimators."""


def __getattr__(name: str) -> Any:
    """Import a name of the library."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    place = _PLACES.get(name, "replay.python.estimators")
    return getattr(import_module(f"{__name__}.{place}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
