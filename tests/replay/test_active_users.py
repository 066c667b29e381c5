"""Fits leave out users with few interactions so far; memories and evaluations do not."""

import dataclasses

import numpy as np
import pytest
from replays import replay
from toys import Popularity, record_fits

from perennial.replay.chain import Chain, Limits
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.ingest import LiveRequest, check_request
from perennial.replay.live.setup import configure_live
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.strategies.baselines import Sampled
from perennial.storage.base import ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import read_events
from perennial.storage.log.rewrite import drop_events
from perennial.storage.results.cells import read_cells
from perennial.storage.results.runs import read_run
from perennial.stream.history import History

pytestmark = pytest.mark.usefixtures("with_toys")
CONFIG = ReplayConfig(strategies=("individual", "joint"), models=(ModelChoice("popularity"),))
LEAST = 8
ACTIVE = dataclasses.replace(CONFIG, min_user_events=LEAST)


def count_events(store, period, users):
    return np.bincount(read_events(store, 1, period).users, minlength=max(users) + 1)[users]


@pytest.mark.parametrize("first", [1, None])
def test_users_are_shown_from_the_period_in_which_they_have_enough(store, first):
    shown = []
    for period in (1, 2, 3, 4, 5):
        everyone = History(store, period).rows(first or period)
        rows = History(store, period, min_user_events=LEAST).rows(first or period)
        enough = count_events(store, period, everyone.users) >= LEAST
        np.testing.assert_array_equal(rows.users, everyone.users[enough])
        np.testing.assert_array_equal(
            rows.interactions.toarray(), everyone.interactions[enough].toarray()
        )
        np.testing.assert_array_equal(rows.last_period, everyone.last_period[enough])
        shown.append((len(rows.users), int((~enough).sum())))
    assert all(hidden for _, hidden in shown)
    assert shown[-1][0] > shown[1][0] > 0


@pytest.fixture
def fits(monkeypatch):
    return record_fits(monkeypatch, Popularity)


def test_fits_leave_them_out_and_evaluations_are_the_same(store, fits):
    late = dataclasses.replace(ACTIVE, min_user_events=5)
    run_id, _ = replay(store, late)
    rows = [given.num_rows for _, given, _ in fits]
    expected = [
        History(store, t, min_user_events=5).rows(first=first).users.size
        for t in (1, 2, 3, 4)
        for first in (t, 1)
    ]
    assert rows == expected
    other_id, _ = replay(store, CONFIG)
    one, other = read_cells(store, run_id), read_cells(store, other_id)
    assert [cell.evaluation_key for cell in one] == [cell.evaluation_key for cell in other]
    assert not {cell.fit_key for cell in one} & {cell.fit_key for cell in other}
    assert read_run(store, run_id).config["min_user_events"] == 5
    assert replay(store, late)[1] == replay(store, CONFIG)[1] == []


def test_a_memory_stands_for_all_users(store, fits):
    sampled = Sampled("user-rns", budget=1000, policy="all")
    for least in (None, 5):
        chain = Chain(store, sampled, Popularity(), 0, Limits(min_user_events=least), {})
        chain.fit(chain.history(3), Stopwatch(Clock()), ignore_progress)
    (_, whole, _), (_, active, _) = fits
    remembered = [rows.interactions[rows.replayed].toarray() for rows in (whole, active)]
    np.testing.assert_array_equal(*remembered)
    assert len(remembered[0]) == 30
    assert (~active.replayed).sum() < (~whole.replayed).sum()


def test_a_fit_without_such_users_is_refused(store):
    with pytest.raises(UserError, match=r"period 1: no user has 999 interactions \(--min-user-e"):
        replay(store, dataclasses.replace(CONFIG, min_user_events=999))


def test_records_without_the_setting_stay_as_they_were(store):
    assert "min_user_events" not in CONFIG.to_json()
    assert ReplayConfig.from_json(CONFIG.to_json()) == CONFIG
    assert ReplayConfig.from_json(ACTIVE.to_json()) == ACTIVE
    one = dataclasses.replace(CONFIG, strategies=("individual",))
    assert configure_live(store, one) == configure_live(store, one)
    with pytest.raises(UserError, match="live with"):
        configure_live(store, dataclasses.replace(one, min_user_events=LEAST))


def test_interactions_that_are_counted_may_not_be_dropped(store):
    one = dataclasses.replace(ACTIVE, strategies=("individual",))
    configure_live(store, one)
    with pytest.raises(UserError, match="--min-user-events of `perennial init` counts"):
        check_request(store, LiveRequest(forget_log_after=1))
    drop_events(store, 2)
    with pytest.raises(UserError, match="only from period 3 on"):
        configure_live(store, dataclasses.replace(one, min_user_events=2), replace=True)
    with pytest.raises(UserError, match="only from period 3 on"):
        History(store, 4, min_user_events=2).rows(first=4)
