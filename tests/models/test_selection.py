"""Choosing on a hold-out: the grid, the trials, the end of a training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from model_rows import rows_of, rows_of_dense
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows
from perennial.models.selection import (
    Trial,
    cap_and_hold_out,
    choose,
    choose_and_solve,
    cross,
    report_choice,
)
from perennial.models.training.early_stopping import Patience


@pytest.fixture
def rows() -> TrainingRows:
    generator = np.random.default_rng(0)
    periods = np.repeat(np.array([1, 2, 3], np.int32), 10)
    return rows_of_dense(generator.random((30, 12)) < 0.4, last_period=periods)


def test_a_grid_is_every_combination():
    assert cross({"a": (1, 2), "b": ("x", "y")}) == (
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    )
    assert cross({}) == ({},)


def test_the_best_comes_first_and_the_earlier_of_equals(rows):
    _, held = cap_and_hold_out(rows, FitOptions(0), None)
    scores = {1: 5.0, 2: 7.0, 3: 7.0, 4: 6.0}
    trials = choose(cross({"a": tuple(scores)}), held, lambda one: Trial(one, scores[one["a"]]))
    assert [trial.candidate["a"] for trial in trials] == [2, 3, 4, 1]
    report = report_choice(trials, held, rows)
    assert (report["chosen"], report["validation_HR@100"]) == ({"a": 2}, 7.0)
    assert [one["HR@100"] for one in report["trials"]] == [7.0, 7.0, 6.0, 5.0]


def test_nothing_is_tried_where_nobody_is_judged(rows):
    nobody = Holdout(rows, np.zeros(0, np.int64), rows.interactions[:0])

    def attempt(_candidate):
        raise AssertionError("not to be tried")

    assert choose(cross({"a": (3, 4)}), nobody, attempt) == (Trial({"a": 3}, None),)


def test_the_cap_comes_before_the_hold_out(rows):
    kept, held = cap_and_hold_out(rows, FitOptions(0, max_rows=15), 4)
    assert kept.num_rows == held.training.num_rows == 15
    assert len(held.users) == 4
    assert kept.last_period.min() == 2


def test_patience_ends_after_looks_without_a_better_score():
    patience = Patience(checks=2)
    assert [patience.add(step, score) for step, score in enumerate([1.0, 3.0, 3.0])] == [
        True,
        True,
        False,
    ]
    assert not patience.ended
    assert patience.add(3, 2.0) is False
    assert patience.ended
    assert (patience.best, patience.best_step) == (3.0, 1)


@dataclass(frozen=True)
class Constant:
    """A model that scores its items by a list."""

    scores: Any
    report: Any = None

    @property
    def num_items(self):
        return len(self.scores)

    def score_blocks(self, contexts, block_rows):
        for start in range(0, contexts.shape[0], block_rows):
            rows = min(block_rows, contexts.shape[0] - start)
            yield np.broadcast_to(self.scores, (rows, len(self.scores)))


class TestClosedForms:
    @pytest.fixture
    def prepared(self):
        return []

    @pytest.fixture
    def prepare(self, prepared):
        """Scores of the first or the last items; notes what was prepared and solved."""

        def prepare(rows):
            prepared.append(rows)
            falling = -np.arange(rows.num_items, dtype=np.float32)
            return lambda candidate: Constant(candidate["sign"] * falling)

        return prepare

    @pytest.fixture
    def wide(self):
        """Everybody has some of the first items of many."""
        matrix = csr_array((np.random.default_rng(1).random((30, 20)) < 0.5).astype(np.float32))
        matrix.resize((30, 300))
        return rows_of(matrix)

    def test_the_best_is_solved_again_on_all_rows(self, wide, prepare, prepared):
        kept, held = cap_and_hold_out(wide, FitOptions(0), None)
        said = []
        options = FitOptions(0, progress=said.append)
        grid = cross({"sign": (-1, 1)})
        trials, model = choose_and_solve(grid, held, kept, options, prepare)
        assert [(one.candidate["sign"], one.score) for one in trials] == [(1, 100.0), (-1, 0.0)]
        assert prepared == [held.training, kept]
        assert model.scores[0] > model.scores[-1]
        assert said[1] == "sign 1: validation HR@100 100.00"

    def test_it_is_kept_where_the_rows_are_those_it_was_tried_on(self, wide, prepare, prepared):
        _, held = cap_and_hold_out(wide, FitOptions(0), None)
        grid = cross({"sign": (1, -1)})
        trials, model = choose_and_solve(grid, held, held.training, FitOptions(0), prepare)
        assert prepared == [held.training]
        assert trials[0].candidate["sign"] == 1
        assert model.scores[0] > model.scores[-1]

    def test_a_single_candidate_is_not_tried(self, wide, prepare, prepared):
        kept, held = cap_and_hold_out(wide, FitOptions(0), None)
        grid = cross({"sign": (-1,)})
        trials, _ = choose_and_solve(grid, held, kept, FitOptions(0), prepare)
        assert trials == (Trial({"sign": -1}, None),)
        assert prepared == [kept]

    def test_the_first_is_taken_where_nobody_is_judged(self, wide, prepare, prepared):
        nobody = Holdout(wide, np.zeros(0, np.int64), wide.interactions[:0])
        grid = cross({"sign": (-1, 1)})
        trials, _ = choose_and_solve(grid, nobody, wide, FitOptions(0), prepare)
        assert trials == (Trial({"sign": -1}, None),)
        assert prepared == [wide]
