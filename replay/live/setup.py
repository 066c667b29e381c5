"""Configuration of a store's live model: one strategy, model and seed."""

import json
from typing import TYPE_CHECKING

from perennial.storage.errors import UserError
from perennial.storage.log.ledger import fix_conditions
from perennial.storage.log.periods import first_retained_period
from perennial.storage.reading.settings import DEFAULT_SETTINGS, IngestSettings
from perennial.storage.results.publications import LiveRecord, read_live, write_live
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
    replace: bool = False,
    clock: "Clock | None" = None,
) -> LiveRecord:
    """Configure the live model of a store, and start the run that its cells go into.

    The same configuration again changes nothing.

    With `replace` another configuration is replaced; the cells of its run stay. `conditions` that
    are given decide which rows of all later files count.

    Raises:
        UserError: more than one of the three, invalid settings, another configuration, a strategy
            that needs the dropped periods of the log, or other conditions than those of the log.
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
    versions = read_versions()
    (chain,) = make_chains(store, config, versions)
    recorded = json.loads(json.dumps(config.to_json()))
    current = read_live(store)
    if current is not None and current.config == recorded:
        with store.transaction():
            fix_conditions(store, conditions, replace=replace)
        return current
    if current is not None and not replace:
        raise UserError(
            f"{store.path or 'the store'} is live with {describe(store, current)} already; "
            "--replace begins anew with other settings"
        )
    held_from = first_retained_period(store)
    if held_from > 1 and config.min_user_events is not None:
        raise UserError(
            "--min-user-events counts the interactions of all periods, and the store holds them "
            f"only from period {held_from} on; leave it out"
        )
    if held_from > 1 and chain.strategy.needs_log:
        raise UserError(
            f"strategy '{chain.strategy.name}' needs the whole log, as it is set, and the store "
            f"holds interactions only from period {held_from} on; choose one that does without, "
            "such as --strategy distill-cf --memory-policy rolling"
        )
    now = (clock or Clock()).now()
    with store.transaction():
        fix_conditions(store, conditions, replace=replace)
        run_id = insert_run(store, config.to_named_json(), versions, 0, now, "live")
        record = LiveRecord(recorded, run_id)
        write_live(store, record)
    return record


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
