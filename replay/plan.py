"""Parts of a replay: its chains, the evaluations of their fits, and the cells that are missing."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial.replay.chain import Chain, Limits, warm_recipe
from perennial.replay.config import ReplayConfig
from perennial.replay.keys import cell_key, evaluation_key
from perennial.replay.metrics.registry import default_metrics
from perennial.storage.errors import UserError
from perennial.storage.log.periods import fingerprint, first_retained_period, list_periods
from perennial.storage.results.cells import has_cell
from perennial.storage.results.publications import read_live
from perennial.storage.store import Store


@dataclass(frozen=True)
class PlannedEvaluation:
    """An evaluation of the fits at a period, the newest that they have seen, on another period."""

    fit_period: int
    eval_period: int
    key: str


def eval_periods(config: ReplayConfig, fit_period: int, num_periods: int) -> tuple[int, ...]:
    """Return the periods that a fit is evaluated on."""
    if config.held_out is None:
        return (fit_period + 1,)
    return tuple(range(1, num_periods + 1))


def plan_evaluations(
    store: Store,
    config: ReplayConfig,
    fit_period: int,
    num_periods: int,
    versions: Mapping[str, str],
) -> tuple[PlannedEvaluation, ...]:
    """Return the evaluations of the fits at a period, in order of `eval_period`."""
    extra: dict[str, Any] = {}
    first_retained = first_retained_period(store)
    if first_retained > 1:
        # Contexts have only what the store still holds.
        extra["held_from"] = first_retained
        record = read_live(store)
        if record is not None and record.keep_histories:
            extra["keep_histories"] = record.keep_histories
    planned = []
    for eval_period in eval_periods(config, fit_period, num_periods):
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
        planned.append(PlannedEvaluation(fit_period, eval_period, key))
    return tuple(planned)


def check_chains(config: ReplayConfig) -> None:
    """Check strategies, models and seeds before anything is read or fitted, else `UserError`."""
    for kind, names in (
        ("strategy", tuple(strategy.name for strategy in config.built_strategies)),
        ("model", tuple(model.recipe.name for model in config.models)),
        ("seed", config.seeds),
    ):
        if not names:
            raise UserError(f"no {kind} given; name at least one")
        if len(set(names)) < len(names):
            raise UserError(f"a {kind} is given twice; name each once")
    for strategy in config.built_strategies:
        for model in config.models:
            warm_recipe(model.recipe, strategy)


def make_chains(store: Store, config: ReplayConfig, versions: Mapping[str, str]) -> list[Chain]:
    """Build all strategies × models × seeds; see `check_chains`."""
    check_chains(config)
    limits = Limits(config.memory_limit, config.max_rows, config.min_user_events)
    return [
        Chain(store, strategy, model.recipe, seed, limits, versions, config.held_out)
        for strategy in config.built_strategies
        for model in config.models
        for seed in config.seeds
    ]


def count_periods(store: Store) -> int:
    """Return P; raise `UserError` below two, or if the interactions of a period were dropped."""
    first_retained = first_retained_period(store)
    if first_retained > 1:
        raise UserError(
            f"{store.path or 'the store'} holds interactions only from period "
            f"{first_retained} on, and a replay begins with the first; "
            "`perennial report` shows what was measured live"
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
    """An independent part of a replay: a strategy with a seed, for all models.

    The models stay together because they share the summaries of the strategy's memory. Of its cells
    the store lacks `num_missing`.
    """

    config: ReplayConfig
    num_missing: int


def missing_tasks(
    store: Store, config: ReplayConfig, versions: Mapping[str, str]
) -> list[ReplayTask]:
    """Return the parts of a replay of which the store lacks cells, in the order of the replay."""
    num_periods, metrics = count_periods(store), default_metrics()
    planned = [
        evaluation
        for period in range(1, num_periods)
        for evaluation in plan_evaluations(store, config, period, num_periods, versions)
    ]
    missing: dict[tuple[str, int], int] = {}
    for chain in make_chains(store, config, versions):
        part = chain.strategy.name, chain.seed
        missing.setdefault(part, 0)
        for evaluation in planned:
            fit = chain.recorded_fit(evaluation.fit_period)
            is_recorded = fit is not None and has_cell(
                store, cell_key(fit=fit, evaluation=evaluation.key, metrics=metrics)
            )
            missing[part] += not is_recorded
    given = {
        built.name: name
        for name, built in zip(config.strategies, config.built_strategies, strict=True)
    }
    tasks = []
    for (strategy, seed), count in missing.items():
        name = given[strategy]
        own = {key: values for key, values in config.strategy_settings.items() if key == name}
        own_config = dataclasses.replace(
            config, strategies=(name,), strategy_settings=own, seeds=(seed,)
        )
        if count:
            tasks.append(ReplayTask(own_config, count))
    return tasks
