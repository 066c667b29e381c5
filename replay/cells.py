"""Cells of a run: evaluate fits, link the cells that the store has, record the others."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.models.base import FittedModel
from perennial.replay.chain import Chain
from perennial.replay.config import ReplayConfig
from perennial.replay.evaluate import MetricResult, evaluate
from perennial.replay.keys import cell_key
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.metrics.base import Metric
from perennial.replay.plan import PlannedEvaluation, plan_evaluations
from perennial.storage.base import Progress
from perennial.storage.results.cells import (
    Cell,
    EvaluatedUsers,
    Figure,
    UserFigure,
    has_cell,
    insert_cell,
)
from perennial.storage.results.fits import Fit, insert_fit
from perennial.storage.results.runs import insert_run_cell, update_num_cells
from perennial.storage.store import Store
from perennial.stream.evaluation import Evaluation
from perennial.stream.next_period import build_evaluation


@dataclass(frozen=True)
class EvaluatedCell:
    """A cell, the users that it was evaluated on, and its figures user by user."""

    cell: Cell
    users: EvaluatedUsers
    user_figures: Sequence[UserFigure]


@dataclass(frozen=True)
class CellMaker:
    """Makes the cells of a run in a store that is open for writing and holds the log.

    If it `is_live`, the run's number of cells grows with each of them.
    """

    store: Store
    config: ReplayConfig
    run_id: int
    metrics: tuple[Metric, ...]
    versions: Mapping[str, str]
    clock: Clock
    is_live: bool = False

    def plan(self, fit_period: int, num_periods: int) -> tuple[PlannedEvaluation, ...]:
        """Return the evaluations of the fits at a period."""
        return plan_evaluations(self.store, self.config, fit_period, num_periods, self.versions)

    def build_evaluation(self, planned: PlannedEvaluation) -> Evaluation:
        """Read contexts and targets of an evaluation from the log."""
        return build_evaluation(
            self.store,
            planned.fit_period,
            self.config.protocol,
            self.config.evaluation_seed,
            eval_period=planned.eval_period,
            only=self.config.held_out,
        )

    def link(self, chain: Chain, planned: PlannedEvaluation) -> bool:
        """Make the chain's cell part of the run and return True, if the store has it."""
        fit_key = chain.recorded_fit(planned.fit_period)
        if fit_key is None or not has_cell(self.store, self._key(fit_key, planned)):
            return False
        with self.store.transaction():
            self._append(self._key(fit_key, planned))
        return True

    def evaluate(
        self,
        chain: Chain,
        fitted: tuple[FittedModel, Fit],
        planned: PlannedEvaluation,
        evaluation: Evaluation,
        watch: Stopwatch,
        progress: Progress,
    ) -> EvaluatedCell:
        """Evaluate the fit of a chain; `watch` has timed its stages before."""
        model, fit = fitted
        with watch.stage("evaluate"):
            results = evaluate(model, evaluation, self.metrics, progress)
        cell = Cell(
            key=self._key(fit.key, planned),
            fit_key=fit.key,
            evaluation_key=planned.key,
            strategy=chain.strategy.name,
            model=chain.recipe.name,
            seed=chain.seed,
            fit_period=evaluation.fit_period,
            eval_period=evaluation.eval_period,
            figures=tuple(_figure(result) for result in results),
            fit_report=fit.report,
            stages=dict(watch.stages),
            peak_rss_bytes=self.clock.peak_rss_bytes(),
            versions=self.versions,
            finished=self.clock.now(),
        )
        users = EvaluatedUsers(
            key=planned.key,
            fit_period=evaluation.fit_period,
            eval_period=evaluation.eval_period,
            users=evaluation.users,
            counts=dataclasses.asdict(evaluation.counts),
        )
        return EvaluatedCell(cell, users, [_user_figure(result) for result in results])

    def insert(self, fit: Fit, evaluated: Sequence[EvaluatedCell]) -> None:
        """Write a fit and its cells, part of the run from then on; for use inside a transaction."""
        insert_fit(self.store, fit)
        for one in evaluated:
            insert_cell(self.store, one.cell, one.users, one.user_figures)
            self._append(one.cell.key)

    def _append(self, key: str) -> None:
        insert_run_cell(self.store, self.run_id, key)
        if self.is_live:
            update_num_cells(self.store, self.run_id)

    def _key(self, fit_key: str, planned: PlannedEvaluation) -> str:
        """Return the key of the cell of a fit and an evaluation."""
        return cell_key(fit=fit_key, evaluation=planned.key, metrics=self.metrics)


def _figure(result: MetricResult) -> Figure:
    mean = result.values.mean
    value = None if np.isnan(mean) else mean
    return Figure(result.metric, result.k, value, len(result.values.values))


def _user_figure(result: MetricResult) -> UserFigure:
    """Return the figure user by user; equal weights are left out."""
    weights = result.values.weights
    alike = len(weights) == 0 or bool(np.all(weights == 1.0))
    return UserFigure(
        result.metric,
        result.k,
        result.values.values.astype(np.float32),
        None if alike else weights.astype(np.float32),
    )
