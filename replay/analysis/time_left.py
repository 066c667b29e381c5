"""Time that is left of a run, from what its cells have cost so far.

Cells differ in cost by a factor of a hundred, so their number alone estimates nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from statistics import fmean, linear_regression

from perennial.replay.events import CellFinished, CellName

Costs = list[tuple[int, float]]
"""Periods of fits, in order, and the seconds of their cells."""


class TimeLeft:
    """Sum of the estimated seconds of the cells that are left.

    Each strategy and model has costs of its own, which grow with the history or do not. Until a
    cell of them is finished, the mean of the others stands for them.
    """

    def __init__(self, cells: Iterable[CellName]) -> None:
        """Begin with all cells of a run."""
        self._left = set(cells)
        self._costs: dict[tuple[str, str], Costs] = defaultdict(list)

    def finish(self, event: CellFinished) -> None:
        """Take a cell from those that are left; the seconds of one made now are a cost."""
        name = event.name
        self._left.discard(name)
        if event.cell is not None:
            seconds = sum(event.cell.stages.values())
            self._costs[name.strategy, name.model].append((name.fit_period, seconds))

    def estimate(self) -> float | None:
        """Return the seconds that are left; `None` before a cell was made."""
        if not self._costs:
            return None
        growth = {key: _fit_growth(costs) for key, costs in self._costs.items()}
        mean = fmean(growth[key](costs[-1][0]) for key, costs in self._costs.items())
        total = 0.0
        for cell in self._left:
            cost = growth.get((cell.strategy, cell.model))
            total += mean if cost is None else cost(cell.fit_period)
        return total


def _fit_growth(costs: Costs) -> Callable[[int], float]:
    """Return the estimated seconds of a cell by its period, from those of the periods before.

    A line is fitted, without the first period, in which code is compiled and no memory is used yet,
    once there are others. Costs never fall with the history, and grow no faster than in proportion
    to it.
    """
    later = [cost for cost in costs if cost[0] > costs[0][0]] or costs
    periods, seconds = zip(*later, strict=True)
    mean_period, mean = fmean(periods), fmean(seconds)
    if len(set(periods)) < 2:
        return lambda _period: mean
    slope = min(max(linear_regression(periods, seconds).slope, 0.0), mean / mean_period)
    return lambda period: mean + slope * (period - mean_period)
