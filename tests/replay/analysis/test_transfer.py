"""Backward and forward transfer and forgetting on a small matrix, checked by hand."""

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
R = [[10.0, 5.0, 4.0, 3.0], [8.0, 20.0, 7.0, 6.0], [9.0, 16.0, 30.0, 12.0]]


CHANCE = [NAN, 1.0, 2.0, 3.0]


def matrix(changes=(), chance=CHANCE):
    """R with some values changed: (fit, period, value)."""
    values = np.array(R)
    for fit, period, value in changes:
        values[fit - 1, period - 1] = value
    return TransferMatrix("joint", "mvae", "HR", 10, values, np.array(chance))


NO_FIRST_PERIOD = [(fit, 1, NAN) for fit in (1, 2, 3)]


@pytest.mark.parametrize(
    ("figure", "changes", "expected"),
    [
        # R[3, 1] − R[1, 1] = −1 and R[3, 2] − R[2, 2] = −4.
        ("backward", [], -2.5),
        ("backward", [(2, 1, 12.0)], -2.5),
        ("backward", NO_FIRST_PERIOD, -4),
        # The best of R[1, 1], R[2, 1] is 10, of R[2, 2] 20; the last fit's own period is no term.
        ("forgetting", [], (10 - 9 + 20 - 16) / 2),
        ("forgetting", [(2, 1, 12.0)], (12 - 9 + 20 - 16) / 2),
        ("forgetting", NO_FIRST_PERIOD, 4),
        # Without a figure of a fit between, the best of the others counts.
        ("forgetting", [(2, 1, NAN)], 2.5),
        # R[1, 2] = 5, R[2, 3] = 7, R[3, 4] = 12, less chance.
        ("forward", [], ((5 - 1) + (7 - 2) + (12 - 3)) / 3),
        ("forward", [(1, 2, NAN)], ((7 - 2) + (12 - 3)) / 2),
        ("final", [], (9 + 16 + 30) / 3),
        ("final", NO_FIRST_PERIOD, (16 + 30) / 2),
    ],
)
def test_figures_of_a_matrix(figure, changes, expected):
    assert getattr(matrix(changes), figure) == pytest.approx(expected)


def test_forward_transfer_without_a_chance():
    assert matrix(chance=(NAN, 1.0, NAN, 3.0)).forward == pytest.approx((4 + 9) / 2)


def test_missing_values_give_no_figures():
    every = [(fit, period, NAN) for fit in (1, 2, 3) for period in (1, 2, 3, 4)]
    nothing = matrix(every).to_json()
    names = ("backward_transfer", "forward_transfer", "forgetting", "final")
    assert [nothing[name] for name in names] == [None] * 4
    json.dumps(nothing, allow_nan=False)


def test_one_fit_has_forgotten_nothing():
    one = TransferMatrix("joint", "mvae", "HR", 10, np.array([[10.0, 5.0]]), np.array([NAN, 1.0]))
    assert math.isnan(one.backward)
    assert math.isnan(one.forgetting)
    assert (one.final, one.forward) == (10.0, 4.0)


def test_json_has_null_for_missing_values():
    shape = json.loads(json.dumps(matrix([(2, 4, NAN)]).to_json(), allow_nan=False))
    expected = {"strategy": "joint", "model": "mvae", "metric": "HR", "k": 10}
    expected |= {"matrix": [R[0], [8.0, 20.0, 7.0, None], R[2]], "chance": [None, 1.0, 2.0, 3.0]}
    assert expected.items() <= shape.items()
    assert shape["backward_transfer"] == pytest.approx(-2.5)


@pytest.mark.usefixtures("with_toys")
class TestRun:
    """A real run with held-out users: 40 users, five periods."""

    CONFIG = ReplayConfig(
        strategies=("individual", "joint"),
        models=(ModelChoice("popularity"),),
        seeds=(0, 1),
        held_out=HeldOutUsers(0.5, 1),
    )

    def test_the_matrix_has_the_means_of_the_cells(self, store):
        cells = read_cells(store, run_replay(store, self.CONFIG))
        assert len(cells) == 2 * 2 * 4 * 5
        chance = chance_figures(store, self.CONFIG)
        individual, joint = transfer_matrices(cells, [("HR", 10)], chance)
        assert (individual.strategy, joint.strategy) == ("individual", "joint")
        assert joint.values.shape == (4, 5)
        name = ("joint", 2, 5, "HR", 10)
        by_hand = [
            figure.value
            for cell in cells
            for figure in cell.figures
            if (cell.strategy, cell.fit_period, cell.eval_period, figure.metric, figure.k) == name
        ]
        assert len(by_hand) == 2
        assert joint.values[1, 4] == pytest.approx(np.mean(by_hand))
        np.testing.assert_array_equal(joint.values[0], individual.values[0])
        assert not np.array_equal(joint.values[1:], individual.values[1:])

    def test_chance_is_the_figure_of_a_random_order(self, store):
        chance = chance_figures(store, self.CONFIG)
        assert all(len(row) == 5 and math.isnan(row[0]) for row in chance.values())
        for period in (2, 3, 4, 5):
            options = {"eval_period": period, "only": self.CONFIG.held_out}
            evaluation = build_evaluation(store, period - 1, self.CONFIG.protocol, 0, **options)
            counts = np.diff(evaluation.targets.indptr)
            known = np.diff(evaluation.targets[:, : evaluation.num_items].indptr)
            free = evaluation.num_items - np.diff(evaluation.contexts.indptr)
            # Each of min(10, free) places has a known target with probability known / free.
            places = np.minimum(10, free)
            shares = places * known / np.maximum(free, 1) / np.minimum(10, counts)
            spread = 100 * 0.5 / np.sqrt(len(counts))
            assert abs(chance["HR", 10][period - 1] - 100 * shares.mean()) < 3 * spread
            # At 100 every item has a place, so that all known targets are hit.
            exact = 100 * (known / np.minimum(100, counts)).mean()
            assert chance["HR", 100][period - 1] == pytest.approx(exact)
        again = chance_figures(store, self.CONFIG)
        for metric, row in chance.items():
            np.testing.assert_array_equal(row, again[metric])

    def test_a_run_without_held_out_users_has_no_figures(self, store):
        users = np.arange(40, dtype=np.int32)
        shares = (HeldOutUsers(0.01, seed) for seed in range(100))
        nobody = next(one for one in shares if not one.mask(users).any())
        config = ReplayConfig(strategies=("joint",), models=self.CONFIG.models, held_out=nobody)
        cells = read_cells(store, run_replay(store, config))
        (empty,) = transfer_matrices(cells, [("HR", 10)], chance_figures(store, config))
        assert np.isnan(empty.values).all()
        assert empty.to_json()["final"] is None
