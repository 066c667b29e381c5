"""The time left of a run follows what its strategies and models cost."""

from itertools import product

import pytest
from stored_results import make_cell

from perennial.replay.analysis.time_left import TimeLeft
from perennial.replay.events import CellFinished, CellName

COSTS = {"cheap": lambda period: 2.0, "growing": lambda period: 10.0 * period}
"""Strategy -> seconds of a cell at a period."""

CELLS = [
    CellName(one, "ease", 0, period, period + 1) for period, one in product(range(1, 9), COSTS)
]


def cost(name: CellName) -> float:
    return COSTS[name.strategy](name.fit_period)


def finish(time_left: TimeLeft, cells: list[CellName], *, recorded: bool = False) -> None:
    for name in cells:
        cell = make_cell(stages={"prepare": cost(name) / 4, "fit": 3 * cost(name) / 4})
        time_left.finish(CellFinished(name, 1, len(CELLS), None if recorded else cell))


@pytest.fixture
def time_left() -> TimeLeft:
    return TimeLeft(CELLS)


def test_there_is_no_estimate_before_a_cell_is_made(time_left):
    assert time_left.estimate() is None
    finish(time_left, CELLS[:3], recorded=True)
    assert time_left.estimate() is None


def test_the_first_cell_stands_for_all(time_left):
    finish(time_left, CELLS[:1])
    assert time_left.estimate() == pytest.approx(2.0 * 15)


def test_each_strategy_has_costs_of_its_own(time_left):
    finish(time_left, CELLS[:2])
    assert time_left.estimate() == pytest.approx(7 * (2.0 + 10.0))


@pytest.mark.parametrize("done", [6, 7, 12])
def test_costs_that_grow_go_on_growing(done, time_left):
    finish(time_left, CELLS[:done])
    assert time_left.estimate() == pytest.approx(sum(map(cost, CELLS[done:])))


def test_cells_from_the_store_are_not_left_and_cost_nothing(time_left):
    finish(time_left, CELLS[:2])
    finish(time_left, CELLS[2:], recorded=True)
    assert time_left.estimate() == 0.0


def test_a_jump_does_not_grow_faster_than_the_history():
    cells = [CellName("joint", "ease", 0, period, period + 1) for period in (1, 2, 3, 6)]
    time_left = TimeLeft(cells)
    for name, seconds in zip(cells[:3], (1.0, 1.0, 4.0), strict=True):
        time_left.finish(CellFinished(name, 1, 4, make_cell(stages={"fit": seconds})))
    assert time_left.estimate() == pytest.approx(2.5 * 6 / 2.5)
