"""Configuration of a store's live model: one strategy, model and seed."""

import dataclasses
import json
from typing import TYPE_CHECKING

from perennial.replay.live.default_strategy import DefaultStrategy, choose_default
from perennial.storage.base import Json
from perennial.storage.errors import UserError
from perennial.storage.log.ledger import fix_conditions
from perennial.storage.log.periods import first_retained_period
from perennial.storage.reading.settings import DEFAULT_SETTINGS, IngestSettings
from perennial.storage.results.publications import LiveRecord, read_live, update_live, write_live
from perennial.storage.results.runs import insert_run, read_run
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store

if TYPE_CHECKING:
    from perennial.replay.config import ReplayConfig
    from perennial.replay.machine import Clock


def configure_live(
    store: Store,
    config: "ReplayConfig",
    *,
    conditions: IngestSettings = DEFAULT_SETTINGS,
    forget_log_after: int | None = None,
    keep_histories: int = 0,
    replace: bool = False,
    default: DefaultStrategy | None = None,
    has_own_limit: bool = True,
    clock: "Clock | None" = None,
) -> LiveRecord:
    """Configure the live model of a store, and start the run that its cells go into.

    The same configuration again changes nothing.

    `forget_log_after` and `keep_histories` are as in `LiveRecord`. With `replace` another
    configuration is replaced; the cells of its run stay. `conditions` that are given decide which
    rows of all later files count. `default`: the strategy was chosen, and is chosen again if the
    store holds only a part of the log. Without `has_own_limit` the memory limit is a share of this
    machine's memory that nobody gave; the recorded one, of another machine, is then as good.

    Raises:
        UserError: more than one of the three, invalid settings, another configuration, a strategy
            that needs periods of the log that are or will be dropped, histories without dropping,
            or other conditions than those of the log.
    """
    from perennial.replay.machine import Clock
    from perennial.replay.plan import make_chains

    for what, number in (
        ("strategy", len(config.strategies)),
        ("model", len(config.models)),
        ("seed", len(config.seeds)),
    ):
        if number != 1:
            raise UserError(f"a live store has one {what}, not {number}; name one")
    if keep_histories and forget_log_after is None:
        raise UserError(
            "--keep-histories keeps items of the interactions that --forget-log-after drops; give "
            "both, or none"
        )
    held_from = first_retained_period(store)
    if default is not None and default.name == "joint" and held_from > 1:
        default = choose_default(config.models[0].name, keeps_log=False)
        config = dataclasses.replace(config, strategies=(default.name,))
    versions = read_versions()
    (chain,) = make_chains(store, config, versions)
    recorded = json.loads(json.dumps(config.to_json()))
    if forget_log_after is not None:
        check_forgetting(config)
    current = read_live(store)
    reason = None if default is None else default.reason
    if current is not None and not has_own_limit and not replace:
        recorded["memory_limit"] = current.config.get("memory_limit")
    wanted = LiveRecord(recorded, 0, forget_log_after, keep_histories, reason)
    if current is not None and _is_same(wanted, current):
        with store.transaction():
            fix_conditions(store, conditions, replace=replace)
            if current.why_default is not None and reason is None:
                # The strategy is given now, and no longer changes by itself.
                current = dataclasses.replace(current, why_default=None)
                update_live(store, current)
        return current
    if current is not None and not replace:
        raise UserError(
            f"{store.path or 'the store'} is live with {describe(store, current)} already; "
            "--replace begins anew with other settings"
        )
    if held_from > 1 and config.min_user_events is not None:
        raise UserError(
            "--min-user-events counts the interactions of all periods, and the store holds them "
            f"only from period {held_from} on; leave it out"
        )
    if held_from > 1 and chain.strategy.needs_log:
        raise UserError(
            f"strategy '{chain.strategy.name}' needs the whole log, as it is set, and the store "
            f"holds interactions only from period {held_from} on; choose one that does without, "
            f"such as --strategy {_without_log(config)}"
        )
    now = (clock or Clock()).now()
    with store.transaction():
        fix_conditions(store, conditions, replace=replace)
        run_id = insert_run(store, config.to_named_json(), versions, 0, now, "live")
        record = dataclasses.replace(wanted, run_id=run_id)
        write_live(store, record)
    return record


def _is_same(wanted: LiveRecord, current: LiveRecord) -> bool:
    """Return whether a configuration is the current one; a default strategy may have changed."""
    config, why = wanted.config, current.why_default
    if None not in (wanted.why_default, why):
        config = {**config, "strategies": current.config["strategies"]}
    same = dataclasses.replace(wanted, config=config, run_id=current.run_id, why_default=why)
    return same == current


def check_forgetting(config: "ReplayConfig") -> None:
    """Check that a live model needs none of the interactions that are dropped.

    Raises:
        UserError: it counts them, or its strategy reads them again.
    """
    (strategy,) = config.built_strategies
    if config.min_user_events is not None:
        raise UserError(
            "--min-user-events of `perennial init` counts the interactions of all periods, so that "
            "none may be dropped; leave --forget-log-after out"
        )
    if strategy.needs_log:
        raise UserError(
            f"strategy '{strategy.name}' needs the whole log, as it is set; for "
            "--forget-log-after choose one that does without, such as "
            f"`perennial init --replace --strategy {_without_log(config)}`"
        )


def _without_log(config: "ReplayConfig") -> str:
    """Return the option of a strategy for the model that does not read old periods of the log."""
    name = choose_default(config.models[0].name, keeps_log=False).name
    return f"{name} --memory-policy rolling" if name in config.strategies else name


def require_live(store: Store) -> LiveRecord:
    """Return the configuration of the live model.

    Raises:
        UserError: the store has none.
    """
    record = read_live(store)
    if record is None:
        raise UserError(
            f"{store.path or 'the store'} has no live model; choose one with `perennial init`"
        )
    return record


def live_names(store: Store, record: LiveRecord) -> tuple[str, str]:
    """Return the names of the live strategy and model, also of those given by target."""
    config = read_run(store, record.run_id).config
    return config["strategies"][0], config["models"][0]["name"]


def describe(store: Store, record: LiveRecord) -> str:
    """Describe strategy, model and seed in a few words."""
    strategy, model = live_names(store, record)
    return f"{strategy}, {model} and seed {record.config['seeds'][0]}"


def live_to_json(store: Store, record: LiveRecord) -> dict[str, Json]:
    """Return the configuration of the live model as plain values."""
    strategy, model = live_names(store, record)
    named = {"strategy": strategy, "model": model, "seed": record.config["seeds"][0]}
    recorded = dataclasses.asdict(record)
    return {**named, "run": recorded.pop("run_id"), **recorded}
