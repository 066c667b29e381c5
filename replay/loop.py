"""The replay: refit period after period, evaluate each fit on the next period, record the result.

The outer loop is over periods and the inner one over chains, so that an evaluation is built once
for all chains and only one exists at a time. The cells of a fit are recorded in one transaction;
whatever ends the process, the same call resumes after the recorded cells and gives equal figures.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from perennial.replay.cells import CellMaker, EvaluatedCell
from perennial.replay.chain import Chain
from perennial.replay.config import ReplayConfig
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
from perennial.replay.plan import PlannedEvaluation, count_periods, eval_periods, make_chains
from perennial.storage.results.cells import Cell
from perennial.storage.results.fits import insert_model_file, sweep_model_files, write_model
from perennial.storage.results.runs import end_run, start_run
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
    """Replay the log of a store, and return the number of the run.

    All registered metrics are taken by default. With `fresh` every cell is made again, also those
    that the store has. `versions` are of the code, its libraries and the device that the store's
    cells were made with; this process's own by default, others if workers with another device made
    all cells.

    Raises:
        UserError: the log has fewer than two periods, or the settings make no run.
    """
    num_periods = count_periods(store)
    clock = clock or Clock()
    versions = read_versions() if versions is None else versions
    chains = make_chains(store, config, versions)
    names = tuple(
        CellName(chain.strategy.name, chain.recipe.name, chain.seed, period, eval_period)
        for period in range(1, num_periods)
        for chain in chains
        for eval_period in eval_periods(config, period, num_periods)
    )
    recorded = config.to_named_json() | {"periods": num_periods}
    sweep_model_files(store)
    run_id = start_run(store, recorded, versions, len(names), clock.now())
    listener(RunStarted(run_id, names))
    metrics = default_metrics() if metrics is None else tuple(metrics)
    maker = CellMaker(store, config, run_id, metrics, versions, clock)
    replay = _Replay(maker, num_periods, len(names), listener, fresh)
    try:
        for period in range(1, num_periods):
            replay.evaluate_period(period, chains)
    except BaseException:
        # The error that ended the run must be raised, not one from recording its end.
        with suppress(Exception):
            end_run(store, run_id, "interrupted", clock.now())
        raise
    end_run(store, run_id, "finished", clock.now())
    listener(RunFinished(run_id))
    return run_id


@dataclass
class _Replay:
    """A replay in progress."""

    maker: CellMaker
    num_periods: int
    num_cells: int
    listener: Listener
    fresh: bool
    num_done: int = 0

    def evaluate_period(self, period: int, chains: Sequence[Chain]) -> None:
        """Fit every chain at `period` and evaluate the fits; link the cells that the store has."""
        planned = self.maker.plan(period, self.num_periods)
        evaluations: dict[str, Evaluation] = {}
        for chain in chains:
            missing = [one for one in planned if not self._link(chain, one)]
            if not missing:
                continue
            self.listener(CellStarted(_name(chain, missing[0])))
            watch = Stopwatch(self.maker.clock)
            for one in missing:
                if one.key not in evaluations:
                    with watch.stage("prepare"):
                        evaluations[one.key] = self.maker.build_evaluation(one)
            self._make_cells(chain, [(one, evaluations[one.key]) for one in missing], watch)

    def _link(self, chain: Chain, planned: PlannedEvaluation) -> bool:
        if self.fresh or not self.maker.link(chain, planned):
            return False
        self._finish(_name(chain, planned), None)
        return True

    def _make_cells(
        self,
        chain: Chain,
        missing: Sequence[tuple[PlannedEvaluation, Evaluation]],
        watch: Stopwatch,
    ) -> None:
        """Fit a chain at a period, evaluate the fit and record its cells."""
        name = _name(chain, missing[0][0])
        progress = report_stages(self.listener, name)
        model, fit = chain.fit(chain.history(name.fit_period), watch, progress)
        evaluated: list[EvaluatedCell] = []
        for planned, evaluation in missing:
            evaluated.append(
                self.maker.evaluate(chain, (model, fit), planned, evaluation, watch, progress)
            )
            # The seconds of the fit belong to the first of its cells.
            watch = Stopwatch(self.maker.clock)
        store = self.maker.store
        path = write_model(store, fit.key, *chain.to_arrays(model)) if chain.follows else None
        with store.transaction():
            self.maker.insert(fit, evaluated)
            if path is not None:
                insert_model_file(store, fit.key, "warm-start", chain.key, path)
        if path is not None:
            sweep_model_files(store)
        for (planned, _), one in zip(missing, evaluated, strict=True):
            self._finish(_name(chain, planned), one.cell)

    def _finish(self, name: CellName, cell: Cell | None) -> None:
        self.num_done += 1
        self.listener(CellFinished(name, self.num_done, self.num_cells, cell))


def _name(chain: Chain, planned: PlannedEvaluation) -> CellName:
    return CellName(
        chain.strategy.name, chain.recipe.name, chain.seed, planned.fit_period, planned.eval_period
    )
