"""Keys of fits, evaluations and cells: hashes of everything that they follow from.

Equal keys mean equal figures, so that nothing in the store is computed again after a crash, for a
run with one more strategy, or when the log has grown by a period.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial.models.base import Recipe
from perennial.replay.metrics.base import Metric
from perennial.replay.strategies.base import Strategy
from perennial.storage.registry import external_source
from perennial.stream.history import HeldOutUsers
from perennial.stream.next_period import ProtocolSettings

_FORMAT = 1
"""Raised when the meaning of what is stored under a key changes."""


@dataclass(frozen=True)
class FitKeys:
    """The two keys that a fit can have: `whole`, or `capped` if the memory limit changed it.

    Only the fit shows whether a memory limit leaves out rows. A fit without such a loss is the same
    under any larger limit, so that its key is independent of the limit; the key of a fit with a
    loss includes it.
    """

    whole: str
    capped: str


def make_key(parts: Mapping[str, Any]) -> str:
    """Hash JSON-able parts, in any order of their names."""
    text = json.dumps({"format": _FORMAT, **parts}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def describe_strategy(strategy: Strategy) -> dict[str, Any]:
    """Return a strategy's name and, if it is a dataclass, its settings."""
    settings: dict[str, Any] = {}
    if dataclasses.is_dataclass(strategy) and not isinstance(strategy, type):
        settings = dataclasses.asdict(strategy)
    return {"name": strategy.name, "settings": settings, **external_source(strategy)}


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a model's name and settings."""
    return {"name": recipe.name, "settings": dict(recipe.settings), **external_source(recipe)}


def chain_key(
    strategy: Strategy,
    recipe: Recipe,
    seed: int,
    max_rows: int | None,
    held_out: HeldOutUsers | None = None,
    min_user_events: int | None = None,
) -> str:
    """Return the key of a chain, which does not depend on the log."""
    parts = {
        "strategy": describe_strategy(strategy),
        "model": describe_recipe(recipe),
        "seed": seed,
        "max_rows": max_rows,
    }
    if held_out is not None:
        parts["held_out"] = dataclasses.asdict(held_out)
    if min_user_events is not None:
        parts["min_user_events"] = min_user_events
    return make_key(parts)


def fit_keys(
    *,
    chain: str,
    log: str,
    previous: str | None,
    memory_limit: int | None,
    versions: Mapping[str, str],
) -> FitKeys:
    """Return the keys of a fit.

    `log` is the fingerprint of the periods ≤ t, and `previous` the key of the fit that a warm start
    begins from, if there is one.
    """
    parts = {"chain": chain, "log": log, "previous": previous, "versions": dict(versions)}
    return FitKeys(
        whole=make_key({"fit": parts}),
        capped=make_key({"fit": parts, "memory_limit": memory_limit}),
    )


def evaluation_key(
    *,
    log: str,
    protocol: ProtocolSettings,
    seed: int,
    versions: Mapping[str, str],
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Return the key of an evaluation.

    `log` is the fingerprint of the periods up to the later of t and the evaluated one; `extra` has
    further parts for an evaluation other than on all users of period t + 1.
    """
    parts = {
        "log": log,
        "protocol": dataclasses.asdict(protocol),
        "seed": seed,
        "versions": dict(versions),
    }
    return make_key({"evaluation": parts | dict(extra or {})})


def cell_key(*, fit: str, evaluation: str, metrics: Sequence[Metric]) -> str:
    """Return the key of a cell: a fit and its evaluation."""
    columns = [[metric.name, list(metric.cutoffs)] for metric in metrics]
    return make_key({"cell": {"fit": fit, "evaluation": evaluation, "metrics": columns}})
