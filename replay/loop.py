"""The replay: refit period after period, judge each refit on the next period, record it.

Periods run outside and chains inside, so that an evaluation is built once for all of them and only
one exists at a time. A cell is recorded in one transaction; whatever ends the process, the same
call again goes on from the cells that are there and comes to the same figures.
"""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from models.protocol import FittedModel
from models.registry import make_recipe
from replay.chain import Chain, Limits
from replay.clock import Clock, Stopwatch
from replay.config import ReplayConfig
from replay.evaluate import MetricResult, evaluate
from replay.keys import cell_key, evaluation_key
from replay.metrics.protocol import Metric
from replay.metrics.registry import default_metrics
from replay.progress import (
    CellFinished,
    CellName,
    CellStarted,
    Listener,
    RunFinished,
    RunStarted,
    StageMessage,
    ignore_events,
)
from replay.strategies.registry import make_strategy
from storage.errors import UserError
from storage.fits import Fit, insert_fit, insert_model_file, sweep_model_files, write_model
from storage.periods import fingerprint, list_periods
from storage.runs import (
    Cell,
    Figure,
    JudgedUsers,
    UserFigure,
    end_run,
    has_cell,
    insert_cell,
    insert_run_cell,
    link_cell,
    start_run,
)
from storage.store import Store
from storage.versions import read_versions
from stream.evaluation import Evaluation
from stream.history import History
from stream.protocol import build_evaluation


def run_replay(
    store: Store,
    config: ReplayConfig,
    *,
    listener: Listener = ignore_events,
    clock: Clock | None = None,
    metrics: Sequence[Metric] | None = None,
    fresh: bool = False,
) -> int:
    """Replay the log of a store.

    Args:
        store: holds the log; takes the run.
        config: what to do.
        listener: told what happens; runs between and inside cells.
        clock: source of times and memory figures.
        metrics: all registered ones unless told.
        fresh: make every cell again, also those that are in the store.

    Returns:
        The number of the run, for `storage.runs` and `replay.summary`.

    Raises:
        UserError: the log has fewer than two periods, or the settings make no run.
    """
    num_periods = len(list_periods(store))
    if num_periods < 2:
        raise UserError(
            f"{store.path or 'the store'} has {num_periods} period(s), a replay needs two: ingest "
            "another file, or cut the log into more periods"
        )
    clock = clock or Clock()
    versions = read_versions()
    chains = _make_chains(store, config, versions)
    num_cells = len(chains) * (num_periods - 1)
    recipes = [make_recipe(model.name, model.settings) for model in config.models]
    models = {recipe.name: dict(recipe.settings) for recipe in recipes}
    recorded = config.to_json() | {
        "models": [{"name": name, "settings": settings} for name, settings in models.items()],
        "periods": num_periods,
    }
    sweep_model_files(store)
    run_id = start_run(store, recorded, versions, num_cells, clock.now())
    listener(RunStarted(run_id, num_cells, num_periods))
    replay = _Replay(
        store=store,
        config=config,
        run_id=run_id,
        num_cells=num_cells,
        versions=versions,
        metrics=default_metrics() if metrics is None else tuple(metrics),
        listener=listener,
        clock=clock,
        fresh=fresh,
    )
    try:
        for period in range(1, num_periods):
            replay.judge_period(period, chains)
    except BaseException:
        # What ended the run is what must be told, not that this could not be noted.
        with suppress(Exception):
            end_run(store, run_id, "interrupted", clock.now())
        raise
    end_run(store, run_id, "finished", clock.now())
    listener(RunFinished(run_id))
    return run_id


def _make_chains(store: Store, config: ReplayConfig, versions: dict[str, str]) -> list[Chain]:
    """All strategies × models × seeds."""
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
        )
        for strategy in config.strategies
        for model in config.models
        for seed in config.seeds
    ]


@dataclass
class _Replay:
    """A run under way."""

    store: Store
    config: ReplayConfig
    run_id: int
    num_cells: int
    versions: dict[str, str]
    metrics: tuple[Metric, ...]
    listener: Listener
    clock: Clock
    fresh: bool
    num_done: int = 0

    def judge_period(self, period: int, chains: Sequence[Chain]) -> None:
        """Fit every chain at `period` and judge it on the next; what is there is only linked."""
        asked = evaluation_key(
            log=fingerprint(self.store, period + 1),
            protocol=self.config.protocol,
            seed=self.config.evaluation_seed,
            versions=self.versions,
        )
        evaluation: Evaluation | None = None
        for chain in chains:
            name = CellName(chain.strategy.name, chain.recipe.name, chain.seed, period)
            if self._link_recorded(chain, name, asked):
                continue
            self.listener(CellStarted(name, self.num_done, self.num_cells))
            watch = Stopwatch(self.clock)
            if evaluation is None:
                with watch.stage("prepare"):
                    evaluation = build_evaluation(
                        self.store, period, self.config.protocol, self.config.evaluation_seed
                    )
            self._make_cell(chain, name, evaluation, asked, watch)

    def _link_recorded(self, chain: Chain, name: CellName, asked: str) -> bool:
        """Make a cell that is in the store part of this run."""
        fit_key = None if self.fresh else chain.recorded_fit(name.fit_period)
        if fit_key is None:
            return False
        key = cell_key(fit=fit_key, evaluation=asked, metrics=self.metrics)
        if not has_cell(self.store, key):
            return False
        link_cell(self.store, self.run_id, key)
        self._finish(name, None)
        return True

    def _make_cell(
        self,
        chain: Chain,
        name: CellName,
        evaluation: Evaluation,
        asked: str,
        watch: Stopwatch,
    ) -> None:
        """Fit, judge, record."""

        def say(text: str) -> None:
            self.listener(StageMessage(name, text))

        model, fit = chain.fit(History(self.store, name.fit_period), watch, say)
        with watch.stage("evaluate"):
            results = evaluate(model, evaluation, self.metrics, say)
        cell = Cell(
            key=cell_key(fit=fit.key, evaluation=asked, metrics=self.metrics),
            fit_key=fit.key,
            evaluation_key=asked,
            strategy=name.strategy,
            model=name.model,
            seed=name.seed,
            fit_period=evaluation.fit_period,
            eval_period=evaluation.eval_period,
            figures=tuple(_figure(result) for result in results),
            fit_report=fit.report,
            stages=dict(watch.stages),
            peak_rss_bytes=self.clock.peak_rss_bytes(),
            versions=self.versions,
            finished=self.clock.now(),
        )
        judged = JudgedUsers(
            key=asked,
            fit_period=evaluation.fit_period,
            eval_period=evaluation.eval_period,
            users=evaluation.users,
            counts=dataclasses.asdict(evaluation.counts),
        )
        self._record(chain, model, fit, cell, judged, [_user_figure(result) for result in results])
        self._finish(name, cell)

    def _record(
        self,
        chain: Chain,
        model: FittedModel,
        fit: Fit,
        cell: Cell,
        judged: JudgedUsers,
        user_figures: Sequence[UserFigure],
    ) -> None:
        """Write a cell whole or not at all, with the model where the next fit starts from it."""
        path = None
        if chain.recipe.starts_warm:
            path = write_model(self.store, fit.key, *model.to_arrays())
        with self.store.transaction():
            insert_fit(self.store, fit)
            if path is not None:
                insert_model_file(self.store, fit.key, "warm-start", chain.key, path)
            insert_cell(self.store, cell, judged, user_figures)
            insert_run_cell(self.store, self.run_id, cell.key)
        if path is not None:
            sweep_model_files(self.store)

    def _finish(self, name: CellName, cell: Cell | None) -> None:
        self.num_done += 1
        self.listener(CellFinished(name, self.num_done, self.num_cells, cell))


def _figure(result: MetricResult) -> Figure:
    """A period's figure."""
    mean = result.values.mean
    value = None if np.isnan(mean) else mean
    return Figure(result.metric, result.k, value, len(result.values.values))


def _user_figure(result: MetricResult) -> UserFigure:
    """The figure user by user; equal weights are left out."""
    weights = result.values.weights
    alike = len(weights) == 0 or bool(np.all(weights == 1.0))
    return UserFigure(
        result.metric,
        result.k,
        result.values.values.astype(np.float32),
        None if alike else weights.astype(np.float32),
    )
