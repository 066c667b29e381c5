"""Groups of options: each is a frozen dataclass, of which a command gets one instance.

A field holds the option's type and default, and the text of `--help`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from perennial.models.registry import DEFAULT_MODELS, MODELS
from perennial.replay.cli.errors import echo
from perennial.replay.cli.parameters import (
    POSITIVE,
    PROTOCOLS,
    Decorator,
    Setting,
    memory_limit_option,
    names_option,
    parse_seeds,
    settings_option,
)
from perennial.replay.strategies.registry import DEFAULT_STRATEGIES, STRATEGIES, STUDY_STRATEGIES
from perennial.replay.study.workers.registry import EXECUTORS, LOCAL

if TYPE_CHECKING:
    from perennial.replay.config import ModelChoice, ReplayConfig
    from perennial.replay.study.workers.base import Executor

Result = TypeVar("Result")


def field(decorator: Decorator) -> Any:
    """Declare a field of a group by the decorator that adds its parameter."""
    return dataclasses.field(metadata={"add": decorator})


def option(*flags: str, **attributes: Any) -> Any:
    """Declare a field, which has the parameter's name, by the arguments of `click.option`."""
    return field(click.option(*flags, **attributes))


def options(**groups: type[Any]) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Add options of groups to a command, which gets an instance of each by its name."""

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        @functools.wraps(command)
        def call(*arguments: Any, **values: Any) -> Result:
            for name, group in groups.items():
                own = {one.name: values.pop(one.name) for one in _declared(group)}
                values[name] = group(**own)
            return command(*arguments, **values)

        for group in reversed(groups.values()):
            for one in reversed(_declared(group)):
                call = one.metadata["add"](call)
        return call

    return decorate


def _declared(group: type[Any]) -> list[dataclasses.Field[Any]]:
    """Return the fields that are options; the others keep their defaults."""
    return [one for one in dataclasses.fields(group) if "add" in one.metadata]


def numbers_option(
    flag: str,
    name: str,
    default: Iterable[float],
    text: str,
    *,
    parse: Any,
    metavar: str = "INTEGER",
) -> Any:
    """Declare a field of numbers: an option that may be repeated, or given with commas.

    `text` is the help without a full stop, and `parse` a callback that makes numbers of the texts.
    """
    joined = ",".join(map(str, default))
    return option(
        flag,
        name,
        multiple=True,
        metavar=metavar,
        default=(joined,),
        show_default=False,
        callback=parse,
        help=f"{text}; repeatable or with commas.  [default: {joined}]",
    )


def _check_budget(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> int | str | None:
    """`500` -> 500 rows; `256KiB` -> the text, as strategies take it."""
    if text is None:
        return None
    from perennial.memory.budget import parse_budget

    try:
        budget = parse_budget(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text.strip() if budget.in_bytes else budget.amount


def _fit_seeds(*default: int) -> Any:
    return numbers_option("--seed", "seeds", default, "Seeds of the fits", parse=parse_seeds)


@dataclass(frozen=True)
class ChainOptions:
    """The chains of a replay."""

    models: tuple[str, ...] = field(names_option("--model", "models", MODELS, DEFAULT_MODELS))
    strategies: tuple[str, ...] = field(
        names_option("--strategy", "strategies", STRATEGIES, DEFAULT_STRATEGIES)
    )
    seeds: tuple[int, ...] = _fit_seeds(0)


@dataclass(frozen=True)
class StudyChainOptions(ChainOptions):
    """The chains of a study."""

    strategies: tuple[str, ...] = field(
        names_option("--strategy", "strategies", STRATEGIES, STUDY_STRATEGIES)
    )
    seeds: tuple[int, ...] = _fit_seeds(0, 1, 2)


@dataclass(frozen=True)
class SettingOptions:
    """Settings of models and strategies, the memory's with options of their own."""

    settings: tuple[Setting, ...] = field(settings_option)
    budget: int | str | None = option(
        "--budget",
        metavar="ROWS|SIZE",
        callback=_check_budget,
        help="Rows, or bytes such as 256KiB, that a memory may replay at any period.  "
        "[default: 500]",
    )
    memory_policy: str | None = option(
        "--memory-policy",
        metavar="NAME",
        help="Summaries that are replayed: all, recent:K (the last K periods'), rolling or "
        "whole.  [default: rolling]",
    )
    memory_weight: float | None = option(
        "--memory-weight",
        type=click.FloatRange(min=0, min_open=True),
        help="Weight of a remembered row; a real user has 1.  [default: 1]",
    )
    history: str | None = option(
        "--history",
        type=click.Choice(["full", "period"]),
        help="Interactions of the new period's users that are trained on: all that the store "
        "holds, or the period's.  [default: full with a memory, period for finetune]",
    )

    def has_any_of(self, strategy: str) -> bool:
        """Return whether a setting of a memory, or another one of a strategy, is given."""
        shared = (self.budget, self.memory_policy, self.memory_weight, self.history)
        return any(one is not None for one in shared) or any(
            name == strategy for name, _, _ in self.settings
        )

    def choose(
        self, models: tuple[str, ...], strategies: tuple[str, ...], *, warm_start: bool = False
    ) -> "tuple[tuple[ModelChoice, ...], dict[str, dict[str, Any]]]":
        """Return the models with their settings, and the settings of strategies that have any."""
        from perennial.replay.config import choose_chains

        return choose_chains(
            models,
            strategies,
            self.settings,
            warm_start=warm_start,
            budget=self.budget,
            policy=self.memory_policy,
            history=self.history,
            weight=self.memory_weight,
        )


@dataclass(frozen=True)
class ProtocolOptions:
    """Warm starts, and the protocol of the evaluation."""

    warm_start: bool = option(
        "--warm-start", is_flag=True, help="Start mvae from the period before's weights."
    )
    protocol: Literal["fold-in", "returning"] = option(
        "--protocol",
        type=click.Choice(PROTOCOLS),
        default=PROTOCOLS[0],
        help="Protocol of the evaluation (see docs/protocol.md).",
    )
    no_mask: bool = option("--no-mask", is_flag=True, help="Rank the items of the context too.")


@dataclass(frozen=True)
class LimitOptions:
    """Limits of a fit."""

    memory_limit: int = field(memory_limit_option)
    max_rows: int | None = option(
        "--max-rows",
        type=POSITIVE,
        help="Fit on at most so many users, the most recent, drawn by seed; up to half of them what"
        " a memory replays.",
    )
    min_user_events: int | None = option(
        "--min-user-events",
        type=POSITIVE,
        metavar="N",
        help="Leave users with fewer interactions so far out of the training rows; evaluate all.",
    )


def make_config(
    chains: ChainOptions, settings: SettingOptions, protocol: ProtocolOptions, limits: LimitOptions
) -> "ReplayConfig":
    """Return the settings of a replay; raise `UserError` if they make none."""
    from perennial.replay.config import ReplayConfig
    from perennial.replay.plan import check_chains
    from perennial.stream.next_period import ProtocolSettings

    models, strategy_settings = settings.choose(
        chains.models, chains.strategies, warm_start=protocol.warm_start
    )
    config = ReplayConfig(
        strategies=chains.strategies,
        strategy_settings=strategy_settings,
        models=models,
        seeds=chains.seeds,
        protocol=ProtocolSettings(protocol=protocol.protocol, mask_context=not protocol.no_mask),
        max_rows=limits.max_rows,
        memory_limit=limits.memory_limit,
        min_user_events=limits.min_user_events,
    )
    check_chains(config)
    return config


@dataclass(frozen=True)
class WorkerOptions:
    """The executor, and how many workers it has."""

    workers: int | None = option(
        "--workers",
        type=POSITIVE,
        help="Processes at a time, of one thread each.  [default: one per core, one on a GPU; "
        "as many as a cluster has room for]",
    )
    engine: str = option(
        "--engine",
        type=click.Choice(tuple(EXECUTORS)),
        default=LOCAL,
        help="Executor of the cells: processes here, or the machines of a Ray cluster.",
    )
    address: str | None = option(
        "--address",
        metavar="ADDRESS",
        help="The cluster of --engine ray: host:6379, ray://host:10001 or auto.  [default: "
        "$RAY_ADDRESS, else a Ray of this machine alone]",
    )
    gpus_per_cell: float = option(
        "--gpus-per-cell",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=False,
        help="GPUs of each worker of --engine ray, 0.5 for two on one.  [default: 0, on CPUs]",
    )

    @property
    def given(self) -> bool:
        """True if any of the options differs from its default."""
        return self.engine != LOCAL or bool(self.workers or self.address or self.gpus_per_cell)

    def open(self) -> "AbstractContextManager[Executor]":
        """Open the executor; it prints on stderr what it has."""
        from perennial.replay.study.workers.base import ExecutorOptions

        if self.engine == LOCAL:
            for flag, value in (
                ("--address", self.address),
                ("--gpus-per-cell", self.gpus_per_cell),
            ):
                if value:
                    raise click.UsageError(f"{flag} is for clusters; give --engine ray with it")
        request = ExecutorOptions(self.workers, self.address, self.gpus_per_cell)
        return EXECUTORS.load(self.engine)(request, lambda text: echo(text, err=True))
