"""What a replay consists of: its chains, and which of their cells the store lacks."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial.models.registry import make_recipe
from perennial.replay.chain import Chain, Limits
from perennial.replay.config import ReplayConfig
from perennial.replay.keys import cell_key, evaluation_key
from perennial.replay.metrics.registry import default_metrics
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.errors import UserError
from perennial.storage.log.periods import fingerprint, first_retained_period, list_periods
from perennial.storage.results.cells import has_cell
from perennial.storage.store import Store
from perennial.stream.evaluation import Evaluation
from perennial.stream.next_period import build_evaluation


@dataclass(frozen=True)
class PlannedEvaluation:
    """A period that the fits at another one are asked about.

    Attributes:
        key: of everything that the evaluation follows from.
    """

    fit_period: int
    eval_period: int
    key: str


def asked_periods(config: ReplayConfig, fit_period: int, num_periods: int) -> tuple[int, ...]:
    """The periods that a fit is asked about."""
    if config.held_out is None:
        return (fit_period + 1,)
    return tuple(range(1, num_periods + 1))


def make_questions(
    store: Store,
    config: ReplayConfig,
    fit_period: int,
    num_periods: int,
    versions: Mapping[str, str],
) -> tuple[PlannedEvaluation, ...]:
    """The questions to the fits at a period, in order of the periods asked about."""
    extra: dict[str, Any] = {}
    held = first_retained_period(store)
    if held > 1:
        # Contexts have only what the store still holds.
        extra["held_from"] = held
    questions = []
    for eval_period in asked_periods(config, fit_period, num_periods):
        if config.held_out is not None:
            extra |= {
                "fit_period": fit_period,
                "eval_period": eval_period,
                "only": [config.held_out.share, config.held_out.seed],
            }
        key = evaluation_key(
            log=fingerprint(store, max(fit_period, eval_period)),
            protocol=config.protocol,
            seed=config.evaluation_seed,
            versions=versions,
            extra=extra,
        )
        questions.append(PlannedEvaluation(fit_period, eval_period, key))
    return tuple(questions)


def pose(store: Store, config: ReplayConfig, question: PlannedEvaluation) -> Evaluation:
    """Build the evaluation that a question stands for."""
    return build_evaluation(
        store,
        question.fit_period,
        config.protocol,
        config.evaluation_seed,
        eval_period=question.eval_period,
        only=config.held_out,
    )


def make_chains(store: Store, config: ReplayConfig, versions: Mapping[str, str]) -> list[Chain]:
    """All strategies × models × seeds.

    Raises:
        UserError: one of the three is missing or given twice, or they do not go together.
    """
    for what, names in (
        ("strategy", config.strategies),
        ("model", tuple(model.name for model in config.models)),
        ("seed", config.seeds),
    ):
        if not names:
            raise UserError(f"no {what} given; name at least one")
        if len(set(names)) < len(names):
            raise UserError(f"a {what} is given twice; name each once")
    limits = Limits(config.memory_limit, config.max_rows)
    return [
        Chain(
            store,
            make_strategy(strategy, config.strategy_settings.get(strategy)),
            make_recipe(model.name, model.settings),
            seed,
            limits,
            versions,
            config.held_out,
        )
        for strategy in config.strategies
        for model in config.models
        for seed in config.seeds
    ]


def count_periods(store: Store) -> int:
    """P, at least two.

    Raises:
        UserError: there are fewer, or the interactions of some were dropped.
    """
    held = first_retained_period(store)
    if held > 1:
        raise UserError(
            f"{store.path or 'the store'} holds interactions only from period {held} on, and a "
            "replay begins with the first; `perennial report` shows what was measured live"
        )
    num_periods = len(list_periods(store))
    if num_periods < 2:
        raise UserError(
            f"{store.path or 'the store'} has {num_periods} period(s), a replay needs two: ingest "
            "another file, or cut the log into more periods"
        )
    return num_periods


@dataclass(frozen=True)
class ReplayTask:
    """A part of a replay that can be made apart: a strategy with a seed, for all models.

    The models stay together because they share what the strategy's memory makes.

    Attributes:
        config: of the replay that is this part.
        num_missing: its cells that the store lacks.
    """

    config: ReplayConfig
    num_missing: int


def missing_parts(
    store: Store, config: ReplayConfig, versions: Mapping[str, str]
) -> list[ReplayTask]:
    """The parts of a replay that are not whole in the store, in the order of the replay.

    Raises:
        UserError: as `make_chains` and `count_periods`.
    """
    num_periods, metrics = count_periods(store), default_metrics()
    questions = [
        one
        for period in range(1, num_periods)
        for one in make_questions(store, config, period, num_periods, versions)
    ]
    missing: dict[tuple[str, int], int] = {}
    for chain in make_chains(store, config, versions):
        part = chain.strategy.name, chain.seed
        missing.setdefault(part, 0)
        for question in questions:
            fit = chain.recorded_fit(question.fit_period)
            there = fit is not None and has_cell(
                store, cell_key(fit=fit, evaluation=question.key, metrics=metrics)
            )
            missing[part] += not there
    return [
        ReplayTask(_only(config, strategy, seed), count)
        for (strategy, seed), count in missing.items()
        if count
    ]


def _only(config: ReplayConfig, strategy: str, seed: int) -> ReplayConfig:
    settings = {name: given for name, given in config.strategy_settings.items() if name == strategy}
    return dataclasses.replace(
        config, strategies=(strategy,), strategy_settings=settings, seeds=(seed,)
    )
