"""Backward and forward transfer and forgetting, on a matrix that can be reckoned by hand."""

import json
import math

import numpy as np
import pytest

from perennial.replay.analysis.transfer import TransferMatrix, chance_figures, transfer_matrices
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.loop import run_replay
from perennial.storage.results.cells import read_cells
from perennial.stream.history import HeldOutUsers
from perennial.stream.next_period import build_evaluation

NAN = math.nan
R = [
    [10.0, 5.0, 4.0, 3.0],
    [8.0, 20.0, 7.0, 6.0],
    [9.0, 16.0, 30.0, 12.0],
]


def matrix(values=R, chance=(NAN, 1.0, 2.0, 3.0)):
    return TransferMatrix("joint", "mvae", "HR", 10, np.array(values), np.array(chance))


def test_what_the_last_fit_has_lost():
    # R[3, 1] − R[1, 1] = −1 and R[3, 2] − R[2, 2] = −4.
    assert matrix().backward == pytest.approx(-2.5)


def test_what_was_forgotten_since_it_was_best():
    # The best of R[1, 1], R[2, 1] is 10, of R[2, 2] 20; the last fit's own period is not lost.
    assert matrix().forgetting == pytest.approx((10 - 9 + 20 - 16) / 2)
    better_later = [R[0], [12.0, *R[1][1:]], R[2]]
    assert matrix(better_later).forgetting == pytest.approx((12 - 9 + 20 - 16) / 2)
    assert matrix(better_later).backward == pytest.approx(-2.5)


def test_what_is_known_before_it_is_learnt():
    # R[1, 2] = 5, R[2, 3] = 7, R[3, 4] = 12, less chance.
    assert matrix().forward == pytest.approx(((5 - 1) + (7 - 2) + (12 - 3)) / 3)


def test_the_last_fit_on_all_that_it_has_lived():
    assert matrix().final == pytest.approx((9 + 16 + 30) / 3)


def test_where_nobody_was_judged_there_is_no_term():
    values = np.array(R)
    values[:, 0] = NAN
    assert matrix(values).backward == pytest.approx(-4)
    assert matrix(values).forgetting == pytest.approx(4)
    assert matrix(values).final == pytest.approx((16 + 30) / 2)
    values = np.array(R)
    values[0, 1] = NAN
    assert matrix(values).forward == pytest.approx(((7 - 2) + (12 - 3)) / 2)
    values[1, 0] = NAN  # A fit between was not asked; the best of the others counts.
    assert matrix(values).forgetting == pytest.approx(2.5)
    assert matrix(chance=(NAN, 1.0, NAN, 3.0)).forward == pytest.approx((4 + 9) / 2)


def test_where_nothing_is_known_nothing_is_told():
    nothing = matrix(np.full((3, 4), NAN)).to_json()
    names = ("backward_transfer", "forward_transfer", "forgetting", "final")
    assert [nothing[name] for name in names] == [None] * 4
    json.dumps(nothing, allow_nan=False)
    # With one fit nothing can have been lost.
    one = matrix([[10.0, 5.0]], (NAN, 1.0))
    assert math.isnan(one.backward)
    assert math.isnan(one.forgetting)
    assert (one.final, one.forward) == (10.0, 4.0)


def test_json_has_null_for_what_is_not_there():
    values = np.array(R)
    values[1, 3] = NAN
    told = json.loads(json.dumps(matrix(values).to_json(), allow_nan=False))
    assert told["matrix"] == [R[0], [8.0, 20.0, 7.0, None], R[2]]
    assert told["chance"] == [None, 1.0, 2.0, 3.0]
    assert told["backward_transfer"] == pytest.approx(-2.5)
    assert (told["strategy"], told["model"], told["metric"], told["k"]) == (
        *("joint", "mvae", "HR", 10),
    )


@pytest.mark.usefixtures("with_toys")
class TestRun:
    """Of a real run with held-out users: 40 users, five periods."""

    CONFIG = ReplayConfig(
        strategies=("individual", "joint"),
        models=(ModelChoice("popularity"),),
        seeds=(0, 1),
        held_out=HeldOutUsers(0.5, 1),
    )

    def test_the_matrix_is_what_the_cells_say(self, store):
        cells = read_cells(store, run_replay(store, self.CONFIG))
        assert len(cells) == 2 * 2 * 4 * 5
        chance = chance_figures(store, self.CONFIG)
        individual, joint = transfer_matrices(cells, [("HR", 10)], chance)
        assert (individual.strategy, joint.strategy) == ("individual", "joint")
        assert joint.values.shape == (4, 5)
        by_hand = [
            figure.value
            for cell in cells
            if (cell.strategy, cell.fit_period, cell.eval_period) == ("joint", 2, 5)
            for figure in cell.figures
            if (figure.metric, figure.k) == ("HR", 10)
        ]
        assert len(by_hand) == 2
        assert joint.values[1, 4] == pytest.approx(np.mean(by_hand))
        np.testing.assert_array_equal(joint.values[0], individual.values[0])
        assert not np.array_equal(joint.values[1:], individual.values[1:])

    def test_no_fit_saw_who_is_asked(self, store):
        run_id = run_replay(store, self.CONFIG)
        users = np.arange(40, dtype=np.int32)
        inside = set(users[self.CONFIG.held_out.mask(users)].tolist())
        for judged, *_ in store.rows("SELECT users FROM evaluations"):
            assert set(judged) <= inside
        whole = run_replay(store, ReplayConfig(models=self.CONFIG.models))
        seen, all_rows = (
            {
                (cell.strategy, cell.fit_period): cell.fit_report["rows_given"]
                for cell in read_cells(store, one)
            }
            for one in (run_id, whole)
        )
        assert all(seen[name] < all_rows[name] for name in seen)

    def test_chance_is_what_a_random_order_gets(self, store):
        found = chance_figures(store, self.CONFIG)
        assert all(len(row) == 5 and math.isnan(row[0]) for row in found.values())
        for period in (2, 3, 4, 5):
            asked = build_evaluation(
                store,
                period - 1,
                self.CONFIG.protocol,
                0,
                eval_period=period,
                only=self.CONFIG.held_out,
            )
            counts = np.diff(asked.targets.indptr)
            known = np.diff(asked.targets[:, : asked.num_items].indptr)
            free = asked.num_items - np.diff(asked.contexts.indptr)
            # All places are as likely: of min(10, free) places each holds a target that is known
            # with the chance known / free.
            places = np.minimum(10, free)
            shares = places * known / np.maximum(free, 1) / np.minimum(10, counts)
            spread = 100 * 0.5 / np.sqrt(len(counts))
            assert abs(found["HR", 10][period - 1] - 100 * shares.mean()) < 3 * spread
            # At 100 every item has a place, so that all that are known are hit.
            exact = 100 * (known / np.minimum(100, counts)).mean()
            assert found["HR", 100][period - 1] == pytest.approx(exact)
        again = chance_figures(store, self.CONFIG)
        for metric, row in found.items():
            np.testing.assert_array_equal(row, again[metric])

    def test_nobody_may_be_held_out_who_is_asked(self, store):
        users = np.arange(40, dtype=np.int32)
        nobody = next(
            found
            for found in (HeldOutUsers(0.01, seed) for seed in range(100))
            if not found.mask(users).any()
        )
        config = ReplayConfig(strategies=("joint",), models=self.CONFIG.models, held_out=nobody)
        cells = read_cells(store, run_replay(store, config))
        (found,) = transfer_matrices(cells, [("HR", 10)], chance_figures(store, config))
        assert np.isnan(found.values).all()
        assert found.to_json()["final"] is None
