"""Test, then train: evaluate the published model on a period, update the memory, refit, publish.

Each step is committed by itself, so that after an interruption the same call resumes after the last
one. Each goes through the chain and the cells of the replay, so that periods ingested one by one
give the same summaries, models and figures, to the bit, as a replay of them all.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perennial.models.base import FittedModel
from perennial.replay.analysis.evaluated_periods import count_users
from perennial.replay.cells import CellMaker, EvaluatedCell
from perennial.replay.config import ReplayConfig
from perennial.replay.events import CellName, Listener, ignore_events, report_stages
from perennial.replay.live.default_strategy import default_of, record_change, smaller_default
from perennial.replay.live.setup import require_live
from perennial.replay.live.steps import PeriodPublished
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.metrics.registry import default_metrics
from perennial.replay.plan import PlannedEvaluation, make_chains
from perennial.storage.base import Progress
from perennial.storage.errors import MemoryLimitExceeded
from perennial.storage.log.periods import first_retained_period, list_periods
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
    read_live,
)
from perennial.storage.results.runs import evaluated_periods
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store


@dataclass
class LiveUpdater:
    """Keeps the model of a store current; the store is live, and open for writing."""

    store: Store
    listener: Listener = ignore_events
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        """Raise `UserError` if the store has no live configuration."""
        self._published: tuple[int, FittedModel] | None = None
        self._configure(require_live(self.store))

    def _configure(self, record: LiveRecord) -> None:
        self._record = record
        config = ReplayConfig.from_json(record.config)
        versions, metrics = read_versions(), tuple(default_metrics())
        self._maker = CellMaker(
            self.store, config, record.run_id, metrics, versions, self.clock, is_live=True
        )
        (self.chain,) = make_chains(self.store, config, versions)
        for publication in list_publications(self.store):
            self.chain.recall(publication.period, publication.fit_key)

    def catch_up(self) -> Iterator[PeriodPublished]:
        """Evaluate, refit and publish for every period since the last publication."""
        sweep_model_files(self.store)
        periods = [one.period for one in list_periods(self.store)]
        last = newest_publication(self.store)
        done = 0 if last is None else last.period
        if last is not None and done == periods[-1] and not read_model(self.store, last.fit_key):
            # Its file is lost, so that it cannot recommend: it is published again.
            done -= 1
        # No fit and no evaluation is possible on a period whose interactions were dropped.
        first_retained = first_retained_period(self.store)
        for period in periods:
            if period <= done or period < first_retained:
                continue
            can_evaluate = self._has_model(period - 1, first_retained)
            cell = users = None
            if can_evaluate and not self._is_evaluated(period):
                evaluated = self._evaluate(period)
                cell, users = evaluated.cell, count_users(evaluated.users)
            publication, can_fit = None, self.chain.has_users(period)
            before = self._record
            if can_fit and (period == periods[-1] or not self._is_evaluated(period + 1)):
                publication = self._publish(period)
            if cell is not None or publication is not None or not can_fit:
                changed = None if self._record is before else default_of(self._record)
                yield PeriodPublished(period, cell, users, publication, changed)

    def _has_model(self, period: int, first_retained: int) -> bool:
        """Return whether the model of a period is published or can be fitted again."""
        is_published = find_publication(self.store, period) is not None
        can_fit = period >= first_retained and period > 0 and self.chain.has_users(period)
        return is_published or can_fit

    def _plan(self, period: int) -> PlannedEvaluation:
        """Return the evaluation of the model before a period on that period."""
        (planned,) = self._maker.plan(period - 1, period)
        return planned

    def _is_evaluated(self, period: int) -> bool:
        """Return whether the run has the cell of a period; link that of a replay in this store."""
        if period in evaluated_periods(self.store, self._maker.run_id):
            return True
        return self._maker.link(self.chain, self._plan(period))

    def _evaluate(self, period: int) -> EvaluatedCell:
        """Evaluate the model of the period before, and record the cell."""
        model, fit, stages = self._model_of(period - 1)
        watch = Stopwatch(self.clock, dict(stages))
        planned = self._plan(period)
        with watch.stage("prepare"):
            evaluation = self._maker.build_evaluation(planned)
        evaluated = self._maker.evaluate(
            self.chain, (model, fit), planned, evaluation, watch, self._progress(period)
        )
        with self.store.transaction():
            self._maker.insert(fit, [evaluated])
        return evaluated

    def _model_of(self, period: int) -> tuple[FittedModel, Fit, dict[str, float]]:
        """Return the model published at a period, its fit and the seconds of its stages."""
        publication = find_publication(self.store, period)
        fit = None if publication is None else find_fit(self.store, publication.fit_key)
        if publication is not None and fit is not None:
            stages = dict(publication.stages)
            if self._published is not None and self._published[0] == period:
                return self._published[1], fit, stages
            stored = read_model(self.store, publication.fit_key)
            if stored is not None:
                return self.chain.recipe.restore(*stored), fit, stages
        # The file is lost or damaged: fit again.
        watch = Stopwatch(self.clock)
        model, fit = self._fit(period, watch)
        return model, fit, watch.stages

    def _fit(self, period: int, watch: Stopwatch) -> tuple[FittedModel, Fit]:
        try:
            return self.chain.fit(self.chain.history(period), watch, self._progress(period))
        except MemoryLimitExceeded as error:
            raise MemoryLimitExceeded(
                f"{error}; `perennial init --replace` changes the settings of a live model"
            ) from error

    def _publish(self, period: int) -> Publication:
        """Refit with the memory and make the new model current.

        If the fit exceeds the memory limit, a default strategy gives way to a smaller one.
        """
        watch = Stopwatch(self.clock)
        try:
            fit, path = self._make(period, watch)
        except MemoryLimitExceeded:
            smaller = smaller_default(self._record, period)
            if smaller is None:
                raise
            self._configure(smaller)
            fit, path = self._make(period, watch)
        publication = Publication(period, fit.key, watch.stages, self.clock.now())
        with self.store.transaction():
            if self._record != read_live(self.store):
                now = publication.published
                self._record = record_change(self.store, self._record, self._maker.versions, now)
                self._maker = dataclasses.replace(self._maker, run_id=self._record.run_id)
            insert_fit(self.store, fit)
            for purpose in ("live", "warm-start") if self.chain.follows else ("live",):
                insert_model_file(self.store, fit.key, purpose, self.chain.key, path)
            insert_publication(self.store, publication)
        # Readers change over before the file of the model before is swept away.
        self.store.write_snapshot()
        sweep_model_files(self.store)
        return publication

    def _make(self, period: int, watch: Stopwatch) -> tuple[Fit, Path]:
        """Fit at a period, or take the recorded fit; return it and the file of its model.

        Raises:
            MemoryLimitExceeded: it does not fit, or only a part of the rows of a default strategy.
        """
        fit_key = self.chain.recorded_fit(period)
        fit = None if fit_key is None else find_fit(self.store, fit_key)
        path = None if fit_key is None else find_model_file(self.store, fit_key)
        if fit is None or path is None or read_model(self.store, fit.key) is None:
            model, fit = self._fit(period, watch)
            self._check_rows(fit, period)
            path = write_model(self.store, fit.key, *self.chain.to_arrays(model))
            self._published = (period, model)
        self._check_rows(fit, period)
        return fit, path

    def _check_rows(self, fit: Fit, period: int) -> None:
        """Refuse a fit on fewer rows than given where the strategy may change instead."""
        used, given = fit.report.get("rows_used"), fit.report.get("rows_given")
        if used is None or given is None or smaller_default(self._record, period) is None:
            return
        if used < min(given, self._maker.config.max_rows or given):
            raise MemoryLimitExceeded(
                f"{used:,} of {given:,} users fit --memory-limit in period {period}"
            )

    def _progress(self, period: int) -> Progress:
        name = CellName(
            self.chain.strategy.name, self.chain.recipe.name, self.chain.seed, period, period + 1
        )
        return report_stages(self.listener, name)
