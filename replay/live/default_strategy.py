"""Choice of the live strategy where none is given, and its change when the log outgrows memory."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from perennial.storage.results.publications import LiveRecord, update_live
from perennial.storage.results.runs import continue_run, read_run
from perennial.storage.store import Store

WITHOUT_SUMMARY = frozenset({"pop", "bias", "ease"})
"""Models whose fits keep sums over users, so that a summary of users saves them nothing."""


@dataclass(frozen=True)
class DefaultStrategy:
    """A strategy that was chosen without `--strategy`, and the reason as part of a sentence."""

    name: str
    reason: str


def choose_default(
    model: str, *, keeps_log: bool, has_memory_settings: bool = False
) -> DefaultStrategy:
    """Choose the strategy of a live model; see `smaller_default` for what may follow `joint`.

    `has_memory_settings`: options of a memory, such as `--budget`, are given.
    """
    if model in WITHOUT_SUMMARY:
        if keeps_log:
            return DefaultStrategy("joint", f"the log is kept, and {model} needs no summary")
        return DefaultStrategy("active", f"old periods are dropped, and {model} takes no summary")
    if has_memory_settings:
        return DefaultStrategy("distill-cf", "settings of a memory are given")
    if keeps_log:
        return DefaultStrategy(
            "joint", "the log is kept; distill-cf as soon as the fit exceeds --memory-limit"
        )
    return DefaultStrategy("distill-cf", "old periods of the log are dropped")


def default_of(record: LiveRecord) -> DefaultStrategy | None:
    """Return the default strategy of a live store; `None` if the user gave one."""
    why = record.why_default
    return None if why is None else DefaultStrategy(record.config["strategies"][0], why)


def smaller_default(record: LiveRecord, period: int) -> LiveRecord | None:
    """Return the configuration that follows when the fit at a period exceeds the memory limit.

    `None` if the strategy was given, reads less than the whole log, or has no better one.
    """
    (strategy,), (model,) = record.config["strategies"], record.config["models"]
    by_default = record.why_default is not None
    if not by_default or strategy != "joint" or model["name"] in WITHOUT_SUMMARY:
        return None
    reason = f"from period {period} on, a fit on the whole log exceeds --memory-limit"
    config = {**record.config, "strategies": ["distill-cf"]}
    return dataclasses.replace(record, config=config, why_default=reason)


def record_change(
    store: Store, record: LiveRecord, versions: Mapping[str, str], now: datetime
) -> LiveRecord:
    """Make a configuration the live one, with a run that begins with the cells of the one before.

    The publications stay. For use inside a transaction; `record` has the number of the run before.
    """
    run = read_run(store, record.run_id)
    strategies = {"strategies": record.config["strategies"]}
    run_id = continue_run(store, record.run_id, {**run.config, **strategies}, versions, now)
    changed = dataclasses.replace(record, run_id=run_id)
    update_live(store, changed)
    return changed
