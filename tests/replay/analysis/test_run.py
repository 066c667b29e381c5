"""Stretches of a run's periods."""

import dataclasses

from made_runs import HR, make_run

from perennial.replay.analysis.run import from_period, is_within, until_period
from perennial.replay.analysis.summary import summarise


def make_joint(*periods):
    """A run in which each of these periods judged one user."""
    return make_run({("joint", "mvae", 0, period): {HR: [10.0 * period]} for period in periods})


def periods_of(data):
    return [cell.eval_period for cell in data.cells]


def test_earlier_periods_can_be_left_out():
    data = make_joint(2, 3, 4)
    assert periods_of(from_period(data, 3)) == [3, 4]
    assert periods_of(data) == [2, 3, 4]


def test_later_periods_can_be_left_out():
    data = make_run(
        {("joint", "mvae", 0, 2): {HR: [10.0, 30.0]}, ("joint", "mvae", 0, 3): {HR: [90.0]}}
    )
    summary = summarise(until_period(data, 2))
    assert [one.mean for one in summary.means] == [20.0]
    assert summary.config["until_period"] == 2
    assert until_period(data, 3) is data
    assert set(until_period(data, 2).evaluated_users) == {"asked 2"}


def test_a_fit_after_the_last_period_is_left_out():
    """The last model may be evaluated on early periods too."""
    (cell,) = make_joint(4).cells
    assert is_within(cell, 4)
    assert not is_within(cell, 3)
    assert not is_within(dataclasses.replace(cell, fit_period=4, eval_period=2), 4)
