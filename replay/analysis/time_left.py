"""Time that is left of a run, from what its cells have cost so far.

Cells differ in cost by a factor of a hundred, so their number alone estimates nothing.
"""

from collections import defaultdict
from collections.abc import Iterable
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
        mean = fmean(_estimate_cost(costs, costs[-1][0]) for costs in self._costs.values())
        total = 0.0
        for cell in self._left:
            costs = self._costs.get((cell.strategy, cell.model))
            total += mean if costs is None else _estimate_cost(costs, cell.fit_period)
        return total


def _estimate_cost(costs: Costs, period: int) -> float:
    """Estimate the seconds of a cell at a period from those of the periods before.

    A line is fitted, without the first period, in which code is compiled and no memory is used yet,
    once there are others. Costs never fall with the history, and grow no faster than in proportion
    to it.
    """
    later = [cost for cost in costs if cost[0] > costs[0][0]] or costs
    periods, seconds = zip(*later, strict=True)
    mean_period, mean = fmean(periods), fmean(seconds)
    if len(set(periods)) < 2:
        return mean
    slope = linear_regression(periods, seconds).slope
    return mean + min(max(slope, 0.0), mean / mean_period) * (period - mean_period)
