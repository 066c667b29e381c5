"""Settings as Python gives them: of the reading of a log, of models and strategies, of limits."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from perennial.replay.chain import Limits
from perennial.replay.config import ModelChoice, ReplayConfig, choose_chains
from perennial.replay.machine import parse_memory_size
from perennial.replay.plan import check_chains
from perennial.storage.base import Json, build
from perennial.storage.errors import UserError
from perennial.storage.reading.settings import IngestSettings
from perennial.stream.next_period import ProtocolName, ProtocolSettings

Settings = Mapping[str, Mapping[str, Json]]
"""Name of a model or strategy -> its settings that differ from the defaults."""

MEMORY_LIMIT = "70%"
"""Default of `memory_limit`, as on the command line."""


class Reading(TypedDict, total=False):
    """Settings for reading a log, as the options of `perennial ingest`; see `IngestSettings`.

    `where` is a mapping: column -> the value, or the values, that a row may have there to count.
    """

    user_column: str
    item_column: str
    time_column: str
    time_format: str
    format: str
    header: bool
    encoding: str
    max_reject_share: float
    min_rating: float
    rating_column: str
    where: Mapping[str, str | Sequence[str]]


def check_reading(reading: Reading) -> dict[str, Json]:
    """Return the fields of `IngestSettings`; raise `UserError` for unknown or unfitting ones."""
    given: dict[str, Json] = dict(reading)
    if "where" in reading:
        accepted = {
            column: (values,) if isinstance(values, str) else tuple(sorted(set(values)))
            for column, values in reading["where"].items()
        }
        given["where"] = tuple(sorted(accepted.items())) or None
    settings = build("reader", "log", IngestSettings, given)
    return {name: getattr(settings, name) for name in given}


def make_limits(
    memory_limit: int | str | None = MEMORY_LIMIT,
    max_rows: int | None = None,
    min_user_events: int | None = None,
) -> Limits:
    """Return the limits of a fit; the memory is in bytes, or text such as `8GiB` or `70%`.

    Raises:
        UserError: the text is no size, or a number is below 1.
    """
    memory = parse_memory_size(memory_limit) if isinstance(memory_limit, str) else memory_limit
    for name, value in (
        ("memory_limit", memory),
        ("max_rows", max_rows),
        ("min_user_events", min_user_events),
    ):
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; give a number from 1 on, or None for no limit")
    return Limits(memory, max_rows, min_user_events)


def make_config(
    models: Sequence[ModelChoice],
    strategies: Sequence[str],
    seeds: Sequence[int],
    settings: Settings | None,
    protocol: ProtocolName,
    limits: Limits,
) -> ReplayConfig:
    """Return the settings of a replay, equal to those that the command line makes.

    Of a model both its own settings count and those in `settings`, which go first.

    Raises:
        UserError: they make no run.
    """
    names = [one.name for one in models]
    if len(set(names)) < len(names):
        raise UserError("a model is given twice; name each once")
    given = [(one.name, one.settings) for one in models] + list((settings or {}).items())
    chosen, of_strategies = choose_chains(
        names,
        strategies,
        [(name, setting, value) for name, own in given for setting, value in own.items()],
    )
    config = ReplayConfig(
        strategies=tuple(strategies),
        strategy_settings=of_strategies,
        models=chosen,
        seeds=tuple(seeds),
        protocol=ProtocolSettings(protocol=protocol),
        max_rows=limits.max_rows,
        memory_limit=limits.memory_limit,
        min_user_events=limits.min_user_events,
    )
    check_chains(config)
    return config
