"""A cell of a run made of a fit and its answers, and written."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.replay.chain import Chain
from perennial.replay.evaluate import MetricResult
from perennial.replay.keys import cell_key
from perennial.replay.machine import Clock
from perennial.replay.metrics.base import Metric
from perennial.replay.plan import PlannedEvaluation
from perennial.storage.results.cells import Cell, EvaluatedUsers, Figure, UserFigure, insert_cell
from perennial.storage.results.fits import Fit
from perennial.storage.results.runs import insert_run_cell
from perennial.storage.store import Store
from perennial.stream.evaluation import Evaluation


@dataclass(frozen=True)
class EvaluatedCell:
    """A cell with what is recorded beside it."""

    cell: Cell
    judged: EvaluatedUsers
    user_figures: Sequence[UserFigure]


@dataclass(frozen=True)
class CellMaker:
    """What the cells of a run have in common.

    Attributes:
        metrics: that were taken.
        versions: of the code and its libraries.
        clock: tells when, and how much memory there was.
    """

    metrics: tuple[Metric, ...]
    versions: Mapping[str, str]
    clock: Clock

    def key(self, fit_key: str, question: PlannedEvaluation) -> str:
        """Of the cell that is a fit's answer to a question."""
        return cell_key(fit=fit_key, evaluation=question.key, metrics=self.metrics)

    def make(
        self,
        chain: Chain,
        fit: Fit,
        question: PlannedEvaluation,
        evaluation: Evaluation,
        results: Sequence[MetricResult],
        stages: Mapping[str, float],
    ) -> EvaluatedCell:
        """What is to be recorded of an answer; `stages` in seconds."""
        cell = Cell(
            key=self.key(fit.key, question),
            fit_key=fit.key,
            evaluation_key=question.key,
            strategy=chain.strategy.name,
            model=chain.recipe.name,
            seed=chain.seed,
            fit_period=evaluation.fit_period,
            eval_period=evaluation.eval_period,
            figures=tuple(_figure(result) for result in results),
            fit_report=fit.report,
            stages=dict(stages),
            peak_rss_bytes=self.clock.peak_rss_bytes(),
            versions=self.versions,
            finished=self.clock.now(),
        )
        judged = EvaluatedUsers(
            key=question.key,
            fit_period=evaluation.fit_period,
            eval_period=evaluation.eval_period,
            users=evaluation.users,
            counts=dataclasses.asdict(evaluation.counts),
        )
        return EvaluatedCell(cell, judged, [_user_figure(result) for result in results])


def insert_made(store: Store, run_id: int, made: EvaluatedCell) -> None:
    """Write a cell and make it part of a run; for use inside a transaction."""
    insert_cell(store, made.cell, made.judged, made.user_figures)
    insert_run_cell(store, run_id, made.cell.key)


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
