"""Forgetting and forward transfer, from fits that were evaluated on every period.

R[i, j] is the figure of the fit at period i on period j, for users that no fit has seen
(Lopez-Paz & Ranzato, NeurIPS 2017; Chaudhry et al., ECCV 2018, for forgetting).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.replay.analysis.summary import average_table
from perennial.replay.config import ReplayConfig
from perennial.replay.evaluate import evaluate
from perennial.storage.base import Json, derive_seed
from perennial.storage.log.periods import list_periods
from perennial.storage.results.cells import Cell
from perennial.storage.store import Store
from perennial.stream.next_period import build_evaluation

Metric = tuple[str, int | None]
"""Name and cut-off."""


@dataclass(frozen=True)
class TransferMatrix:
    """R of a strategy and model in one metric, seeds averaged.

    Attributes:
        values: `(P − 1, P)`, row i − 1 the fit at period i, column j − 1 the evaluated
            period; NaN without any held-out user.
        chance: `(P,)`, figure of a random order of the items known one period before; NaN for the
            first.
    """

    strategy: str
    model: str
    metric: str
    k: int | None
    values: NDArray[np.float64]
    chance: NDArray[np.float64]

    @property
    def backward(self) -> float:
        """BWT: mean over j < T of R[T, j] − R[j, j], with the last fit T; below 0 is forgetting."""
        last = len(self.values)
        own = np.diagonal(self.values)[: last - 1]
        return _mean(self.values[-1, : last - 1] - own)

    @property
    def forward(self) -> float:
        """FWT: mean over j > 1 of R[j − 1, j] − chance, on periods that the fit has not seen."""
        ahead = np.diagonal(self.values, offset=1)
        return _mean(ahead - self.chance[1:])

    @property
    def forgetting(self) -> float:
        """Mean over j < T of the best R[i, j] of any earlier fit that saw j, less R[T, j]."""
        last = len(self.values)
        drops = []
        for place in range(last - 1):
            earlier = self.values[place : last - 1, place]
            if not np.isnan(earlier).all():
                drops.append(np.nanmax(earlier) - self.values[-1, place])
        return _mean(np.array(drops))

    @property
    def final(self) -> float:
        """Mean over j ≤ T of R[T, j]: figure of the last fit on all periods up to its own."""
        return _mean(self.values[-1, : len(self.values)])

    def to_json(self) -> dict[str, Json]:
        """Return the object that `--json` prints, with `null` for a missing figure."""
        return {
            "strategy": self.strategy,
            "model": self.model,
            "metric": self.metric,
            "k": self.k,
            "backward_transfer": _known(self.backward),
            "forward_transfer": _known(self.forward),
            "forgetting": _known(self.forgetting),
            "final": _known(self.final),
            "matrix": [[_known(value) for value in row] for row in self.values.tolist()],
            "chance": [_known(value) for value in self.chance.tolist()],
        }


def transfer_matrices(
    cells: Sequence[Cell], metrics: Sequence[Metric], chance: Mapping[Metric, NDArray[np.float64]]
) -> tuple[TransferMatrix, ...]:
    """Make a matrix for each chain of a run with held-out users and each of `metrics`.

    `chance` is the result of `chance_figures`, `(P,)` by metric.
    """
    chains = dict.fromkeys((cell.model, cell.strategy) for cell in cells)
    num_fits = max(cell.fit_period for cell in cells)
    num_periods = max(cell.eval_period for cell in cells)
    matrices = []
    for model, strategy in chains:
        mine = [cell for cell in cells if (cell.model, cell.strategy) == (model, strategy)]
        for metric, k in metrics:
            values = average_table(
                (num_fits, num_periods),
                (
                    (cell.fit_period - 1, cell.eval_period - 1, figure.value)
                    for cell in mine
                    for figure in cell.figures
                    if (figure.metric, figure.k) == (metric, k) and figure.value is not None
                ),
            )
            matrices.append(
                TransferMatrix(strategy, model, metric, k, values, chance[metric, k][:num_periods])
            )
    return tuple(matrices)


def chance_figures(store: Store, config: ReplayConfig) -> dict[Metric, NDArray[np.float64]]:
    """Evaluate a random order of the items on each period, of those known one period before.

    The figures are `(P,)` by metric, NaN for the first period and for periods without users.
    """
    num_periods = len(list_periods(store))
    figures: dict[Metric, NDArray[np.float64]] = {}
    for period in range(2, num_periods + 1):
        evaluation = build_evaluation(
            store,
            period - 1,
            config.protocol,
            config.evaluation_seed,
            eval_period=period,
            only=config.held_out,
        )
        model = _Chance(evaluation.num_items, derive_seed(config.evaluation_seed, period, "chance"))
        for result in evaluate(model, evaluation):
            row = figures.setdefault((result.metric, result.k), np.full(num_periods, np.nan))
            row[period - 1] = result.values.mean
    return figures


@dataclass(frozen=True)
class _Chance:
    """A model with random scores."""

    num_items: int
    seed: int
    report: Mapping[str, Json] = field(default_factory=dict)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        generator = np.random.default_rng(self.seed)
        for start in range(0, contexts.shape[0], block_rows):
            rows = min(block_rows, contexts.shape[0] - start)
            yield generator.random((rows, self.num_items), dtype=np.float32)

    def to_arrays(self) -> tuple[dict[str, NDArray[np.generic]], dict[str, Json]]:
        return {}, {"num_items": self.num_items, "seed": self.seed}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
