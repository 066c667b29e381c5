"""From the options of a command to the log and the replay that they ask for."""

from collections.abc import Mapping
from typing import Any

from replay.choices import choose_models, choose_strategies
from replay.config import ReplayConfig
from replay.console.parameters import READING
from replay.opening import LogRequest
from replay.strategies.registry import STRATEGIES
from stream.protocol import ProtocolSettings

Setting = tuple[str, str, Any]


def asked_log(options: Mapping[str, Any]) -> LogRequest:
    """The log that `log_options` ask for."""
    reading = {name: options[name] for name in READING if options[name] is not None}
    return LogRequest(
        options["source"],
        options["store"],
        options["cut"],
        options["periods"],
        reading,
        options.get("wait", 0.0),
    )


def asked_config(options: Mapping[str, Any]) -> ReplayConfig:
    """The replay that `replay_options` ask for.

    Raises:
        UserError: names or settings that make no replay.
    """
    of_strategies, of_models = split_settings(options["settings"])
    return ReplayConfig(
        strategies=options["strategies"],
        strategy_settings=choose_strategies(
            options["strategies"],
            of_strategies,
            budget=options["budget"],
            policy=options["memory_policy"],
            weight=options["memory_weight"],
        ),
        models=choose_models(options["models"], of_models, warm_start=options["warm_start"]),
        seeds=options["seeds"],
        protocol=ProtocolSettings(
            protocol=options["protocol"], mask_context=not options["no_mask"]
        ),
        max_rows=options["max_rows"],
        memory_limit=options["memory_limit"],
    )


def split_settings(
    settings: tuple[Setting, ...],
) -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
    """Those of strategies, and the others."""
    of_strategies = tuple(one for one in settings if one[0] in STRATEGIES)
    return of_strategies, tuple(one for one in settings if one[0] not in STRATEGIES)
