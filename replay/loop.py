"""The replay: refit period after period, judge each refit on the next period, record it.

Periods run outside and chains inside, so that an evaluation is built once for all of them and only
one exists at a time. A cell is recorded in one transaction; whatever ends the process, the same
call again goes on from the cells that are there and comes to the same figures.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from perennial.models.base import FittedModel
from perennial.models.registry import make_recipe
from perennial.replay.cells import CellMaker, EvaluatedCell, insert_made
from perennial.replay.chain import Chain
from perennial.replay.config import ReplayConfig
from perennial.replay.evaluate import evaluate
from perennial.replay.events import (
    CellFinished,
    CellName,
    CellStarted,
    Listener,
    RunFinished,
    RunStarted,
    ignore_events,
    report_stages,
)
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.metrics.base import Metric
from perennial.replay.metrics.registry import default_metrics
from perennial.replay.plan import (
    PlannedEvaluation,
    asked_periods,
    count_periods,
    make_chains,
    make_questions,
    pose,
)
from perennial.storage.results.cells import Cell, has_cell
from perennial.storage.results.fits import (
    Fit,
    insert_fit,
    insert_model_file,
    sweep_model_files,
    write_model,
)
from perennial.storage.results.runs import end_run, link_cell, start_run
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store
from perennial.stream.evaluation import Evaluation


def run_replay(
    store: Store,
    config: ReplayConfig,
    *,
    listener: Listener = ignore_events,
    clock: Clock | None = None,
    metrics: Sequence[Metric] | None = None,
    fresh: bool = False,
    versions: Mapping[str, str] | None = None,
) -> int:
    """Replay the log of a store.

    Args:
        store: holds the log; takes the run.
        config: what to do.
        listener: told what happens; runs between and inside cells.
        clock: source of times and memory figures.
        metrics: all registered ones unless told.
        fresh: make every cell again, also those that are in the store.
        versions: of the code, its libraries and the device that cells in the store were made
            with; this process's own unless workers with another device made all.

    Returns:
        The number of the run, for `runs` and `perennial.replay.analysis.run`.

    Raises:
        UserError: the log has fewer than two periods, or the settings make no run.
    """
    num_periods = count_periods(store)
    clock = clock or Clock()
    versions = read_versions() if versions is None else versions
    chains = make_chains(store, config, versions)
    num_cells = len(chains) * sum(
        len(asked_periods(config, period, num_periods)) for period in range(1, num_periods)
    )
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
        num_periods=num_periods,
        num_cells=num_cells,
        maker=CellMaker(
            metrics=default_metrics() if metrics is None else tuple(metrics),
            versions=versions,
            clock=clock,
        ),
        listener=listener,
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


@dataclass
class _Replay:
    """A run under way."""

    store: Store
    config: ReplayConfig
    run_id: int
    num_periods: int
    num_cells: int
    maker: CellMaker
    listener: Listener
    fresh: bool
    num_done: int = 0

    def judge_period(self, period: int, chains: Sequence[Chain]) -> None:
        """Fit every chain at `period` and ask it what is to be asked; what is there is linked."""
        questions = make_questions(
            self.store, self.config, period, self.num_periods, self.maker.versions
        )
        evaluations: dict[str, Evaluation] = {}
        for chain in chains:
            open_ones = [one for one in questions if not self._link_recorded(chain, one)]
            if not open_ones:
                continue
            self.listener(CellStarted(_name(chain, open_ones[0]), self.num_done, self.num_cells))
            watch = Stopwatch(self.maker.clock)
            for one in open_ones:
                if one.key not in evaluations:
                    with watch.stage("prepare"):
                        evaluations[one.key] = pose(self.store, self.config, one)
            self._make_cells(chain, [(one, evaluations[one.key]) for one in open_ones], watch)

    def _link_recorded(self, chain: Chain, question: PlannedEvaluation) -> bool:
        """Make a cell that is in the store part of this run."""
        fit_key = None if self.fresh else chain.recorded_fit(question.fit_period)
        if fit_key is None:
            return False
        key = self.maker.key(fit_key, question)
        if not has_cell(self.store, key):
            return False
        link_cell(self.store, self.run_id, key)
        self._finish(_name(chain, question), None)
        return True

    def _make_cells(
        self,
        chain: Chain,
        asked: Sequence[tuple[PlannedEvaluation, Evaluation]],
        watch: Stopwatch,
    ) -> None:
        """Fit, judge, record."""
        name = _name(chain, asked[0][0])

        progress = report_stages(self.listener, name)
        model, fit = chain.fit(chain.history(name.fit_period), watch, progress)
        made = []
        for question, evaluation in asked:
            with watch.stage("evaluate"):
                results = evaluate(model, evaluation, self.maker.metrics, progress)
            made.append(self.maker.make(chain, fit, question, evaluation, results, watch.stages))
            # What one fit took belongs to the first of its cells.
            watch = Stopwatch(self.maker.clock)
        self._record(chain, model, fit, made)
        for question, recorded in zip([one for one, _ in asked], made, strict=True):
            self._finish(_name(chain, question), recorded.cell)

    def _record(
        self, chain: Chain, model: FittedModel, fit: Fit, made: Sequence[EvaluatedCell]
    ) -> None:
        """Write the cells of a fit whole or not at all, with the model if the next follows it."""
        path = None
        if chain.follows:
            path = write_model(self.store, fit.key, *chain.to_arrays(model))
        with self.store.transaction():
            insert_fit(self.store, fit)
            if path is not None:
                insert_model_file(self.store, fit.key, "warm-start", chain.key, path)
            for one in made:
                insert_made(self.store, self.run_id, one)
        if path is not None:
            sweep_model_files(self.store)

    def _finish(self, name: CellName, cell: Cell | None) -> None:
        self.num_done += 1
        self.listener(CellFinished(name, self.num_done, self.num_cells, cell))


def _name(chain: Chain, question: PlannedEvaluation) -> CellName:
    return CellName(
        chain.strategy.name,
        chain.recipe.name,
        chain.seed,
        question.fit_period,
        question.eval_period,
    )
