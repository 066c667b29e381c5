"""Test, then train: judge the published model on a new period, remember, refit, publish.

Each step is committed for itself, so whatever ends the process, the same call goes on from the
last one; and each goes through the chain and the cells of the replay, so that the periods one by
one give the same summaries, models and figures, to the bit, as a replay of them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from perennial.models.base import FittedModel
from perennial.replay.cells import CellMaker, EvaluatedCell, insert_made
from perennial.replay.config import ReplayConfig
from perennial.replay.evaluate import evaluate
from perennial.replay.events import CellName, Listener, ignore_events, report_stages
from perennial.replay.live.setup import require_live
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.metrics.registry import default_metrics
from perennial.replay.plan import PlannedEvaluation, make_chains, make_questions, pose
from perennial.storage.log.periods import first_retained_period, list_periods
from perennial.storage.log.rewrite import finish_rewriting
from perennial.storage.progress import Progress
from perennial.storage.results.cells import Cell, has_cell
from perennial.storage.results.fits import (
    Fit,
    find_fit,
    find_model_file,
    insert_fit,
    insert_model_file,
    read_model,
    sweep_model_files,
    write_model,
)
from perennial.storage.results.publications import (
    LiveRecord,
    Publication,
    find_publication,
    insert_publication,
    list_publications,
    newest_publication,
)
from perennial.storage.results.runs import evaluated_periods, insert_run_cell, update_num_cells
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store


@dataclass(frozen=True)
class PeriodPublished:
    """A period that the model has caught up with.

    Attributes:
        period: its number.
        judged: the figures of the model before it, if they were made now.
        publication: of the model that has seen it; `None` where later periods make it needless.
    """

    period: int
    judged: Cell | None
    publication: Publication | None


@dataclass
class LiveUpdater:
    """Keeps the model of a store current.

    Attributes:
        store: open for writing, with a live configuration.
        listener: told how it goes.
        clock: tells when, and how long.
    """

    store: Store
    listener: Listener = ignore_events
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        """Raise `UserError` where nothing is fixed."""
        self.record: LiveRecord = require_live(self.store)
        self.config = ReplayConfig.from_json(self.record.config)
        versions = read_versions()
        self._maker = CellMaker(tuple(default_metrics()), versions, self.clock)
        (self.chain,) = make_chains(self.store, self.config, versions)
        self._published: tuple[int, FittedModel] | None = None
        for publication in list_publications(self.store):
            self.chain.recall(publication.period, publication.fit_key)

    def catch_up(self) -> Iterator[PeriodPublished]:
        """Judge, remember, refit and publish for every period since the last publication."""
        finish_rewriting(self.store)
        sweep_model_files(self.store)
        periods = [one.period for one in list_periods(self.store)]
        last = newest_publication(self.store)
        done = 0 if last is None else last.period
        if last is not None and done == periods[-1] and not read_model(self.store, last.fit_key):
            # Its file is lost, so that it does not answer: it is published again.
            done -= 1
        # Nothing can be fitted or asked of a period whose interactions were dropped.
        held = first_retained_period(self.store)
        for period in periods:
            if period <= done or period < held:
                continue
            asked = self._is_there(period - 1, held) and not self._is_judged(period)
            judged = self._judge(period) if asked else None
            publication = None
            if period == periods[-1] or not self._is_judged(period + 1):
                publication = self._publish(period)
            if judged is not None or publication is not None:
                yield PeriodPublished(period, judged, publication)

    def _is_there(self, period: int, held: int) -> bool:
        """Whether there is a model of a period, or one can be made again."""
        published = find_publication(self.store, period) is not None
        return period > 0 and (period >= held or published)

    def _question(self, period: int) -> PlannedEvaluation:
        """What the model before a period is asked about it."""
        (question,) = make_questions(
            self.store, self.config, period - 1, period, self._maker.versions
        )
        return question

    def _is_judged(self, period: int) -> bool:
        """Whether the run tells of a period; what a replay in this store told is taken over."""
        if period in evaluated_periods(self.store, self.record.run_id):
            return True
        fit_key = self.chain.recorded_fit(period - 1)
        if fit_key is None:
            return False
        key = self._maker.key(fit_key, self._question(period))
        if not has_cell(self.store, key):
            return False
        with self.store.transaction():
            insert_run_cell(self.store, self.record.run_id, key)
            update_num_cells(self.store, self.record.run_id)
        return True

    def _judge(self, period: int) -> Cell:
        """Ask the model of the period before, and record the figures."""
        model, fit, stages = self._model_of(period - 1)
        watch = Stopwatch(self.clock, dict(stages))
        question = self._question(period)
        with watch.stage("prepare"):
            evaluation = pose(self.store, self.config, question)
        with watch.stage("evaluate"):
            results = evaluate(model, evaluation, self._maker.metrics, self._progress(period))
        made: EvaluatedCell = self._maker.make(
            self.chain, fit, question, evaluation, results, watch.stages
        )
        with self.store.transaction():
            insert_fit(self.store, fit)
            insert_made(self.store, self.record.run_id, made)
            update_num_cells(self.store, self.record.run_id)
        return made.cell

    def _model_of(self, period: int) -> tuple[FittedModel, Fit, dict[str, float]]:
        """The model that was published at a period, its fit and the seconds that it took."""
        publication = find_publication(self.store, period)
        fit = None if publication is None else find_fit(self.store, publication.fit_key)
        if publication is not None and fit is not None:
            stages = dict(publication.stages)
            if self._published is not None and self._published[0] == period:
                return self._published[1], fit, stages
            kept = read_model(self.store, publication.fit_key)
            if kept is not None:
                return self.chain.recipe.restore(*kept), fit, stages
        # Its file is lost or damaged: it can be made again.
        watch = Stopwatch(self.clock)
        model, fit = self._fit(period, watch)
        return model, fit, watch.stages

    def _fit(self, period: int, watch: Stopwatch) -> tuple[FittedModel, Fit]:
        history = self.chain.history(period)
        return self.chain.fit(history, watch, self._progress(period))

    def _publish(self, period: int) -> Publication:
        """Refit beside the memory and let the new model answer."""
        watch = Stopwatch(self.clock)
        fit_key = self.chain.recorded_fit(period)
        fit = None if fit_key is None else find_fit(self.store, fit_key)
        path = None if fit_key is None else find_model_file(self.store, fit_key)
        if fit is None or path is None or read_model(self.store, fit.key) is None:
            model, fit = self._fit(period, watch)
            path = write_model(self.store, fit.key, *self.chain.to_arrays(model))
            self._published = (period, model)
        publication = Publication(period, fit.key, watch.stages, self.clock.now())
        with self.store.transaction():
            insert_fit(self.store, fit)
            for purpose in ("live", "warm-start") if self.chain.follows else ("live",):
                insert_model_file(self.store, fit.key, purpose, self.chain.key, path)
            insert_publication(self.store, publication)
        # Readers change over before the file of the model before is swept away.
        self.store.write_snapshot()
        sweep_model_files(self.store)
        return publication

    def _progress(self, period: int) -> Progress:
        name = CellName(
            self.chain.strategy.name, self.chain.recipe.name, self.chain.seed, period, period + 1
        )
        return report_stages(self.listener, name)
