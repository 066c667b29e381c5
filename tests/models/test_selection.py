"""Choosing on a holdout: the split, its score, the grid, the trials, the end of a training."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_rows import rows_of, rows_of_dense
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows
from perennial.models.holdout import hold_out, validation_score
from perennial.models.ranking import find_hits, top_items
from perennial.models.selection import (
    Trial,
    cap_and_hold_out,
    choose,
    choose_and_solve,
    cross,
    report_choice,
)
from perennial.models.training.loop import Search


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


def test_a_training_ends_after_checks_without_a_better_score():
    scores = [1.0, 3.0, 3.0, 2.0, 9.0]
    search = Search(2, scores.__getitem__, FitOptions(0))

    def train(check):
        for step in range(len(scores)):
            if not check(step, step):
                break

    assert search.attempt({}, "tried:", train) == Trial({}, 3.0, 1)
    assert (search.best, search.last_step) == (1, 3)


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


def training_rows(dense, **changes):
    periods = np.arange(len(dense), dtype=np.int32)
    return rows_of_dense(dense, np.arange(1.0, len(dense) + 1), last_period=periods, **changes)


@st.composite
def rows_to_split(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    shape = (draw(st.integers(0, 30)), draw(st.integers(1, 20)))
    dense = generator.random(shape) * (generator.random(shape) < draw(st.floats(0, 1)))
    return training_rows(dense, replayed=generator.random(shape[0]) < 0.3)


@given(rows=rows_to_split(), seed=st.integers(0, 100), share=st.sampled_from([0.02, 0.1, 0.6]))
def test_splits_the_rows_and_loses_nothing(rows, seed, share):
    split = hold_out(rows, seed, share)
    before = rows.interactions.toarray()
    left = split.training.interactions.toarray()
    answers = np.zeros_like(before)
    answers[split.users] = split.targets.toarray()

    taken = answers > 0
    assert set(np.unique(answers)) <= {0.0, 1.0}
    np.testing.assert_array_equal(left[taken], 0.0)
    np.testing.assert_array_equal(left[~taken], before[~taken])
    np.testing.assert_array_equal(taken & (before == 0), False)

    lengths = (before > 0).sum(axis=1)
    splittable = ~rows.replayed & (lengths >= 2)
    assert not taken[~splittable].any()
    assert ((left > 0).sum(axis=1)[lengths > 0] >= 1).all()
    total = int(lengths[splittable].sum())
    most = int((lengths[splittable] - 1).sum())
    wanted = min(max(1, round(share * total)), most)
    assert taken.sum() == wanted

    assert (np.diff(split.targets.indptr) >= 1).all()
    assert (np.diff(split.users) > 0).all()
    assert split.training.interactions.shape == rows.interactions.shape
    for name in ("weights", "replayed", "last_period"):
        np.testing.assert_array_equal(getattr(split.training, name), getattr(rows, name))


def test_depends_on_the_seed_alone():
    rows = training_rows(np.ones((20, 10)))
    first, again, other = hold_out(rows, 1), hold_out(rows, 1), hold_out(rows, 2)
    np.testing.assert_array_equal(first.targets.toarray(), again.targets.toarray())
    np.testing.assert_array_equal(first.users, again.users)
    assert not np.array_equal(
        first.training.interactions.toarray(), other.training.interactions.toarray()
    )


def test_does_not_depend_on_the_order_of_stored_entries():
    rows = training_rows(np.ones((4, 5)))
    matrix = rows.interactions
    backwards = csr_array(
        (matrix.data, matrix.indices.reshape(4, 5)[:, ::-1].ravel(), matrix.indptr), shape=(4, 5)
    )
    shuffled = dataclasses.replace(rows, interactions=backwards)
    np.testing.assert_array_equal(
        hold_out(rows, 3).training.interactions.toarray(),
        hold_out(shuffled, 3).training.interactions.toarray(),
    )


def test_takes_every_interaction_equally_often():
    rows = training_rows(np.ones((2, 10)))
    taken = sum(1.0 - hold_out(rows, seed).training.interactions.toarray() for seed in range(2000))
    standard_error = math.sqrt(2000 * 0.1 * 0.9)
    assert np.abs(taken - 200).max() < 4.5 * standard_error


def test_a_cap_judges_a_sample_and_changes_nothing_else():
    rows = training_rows(np.ones((40, 30)))
    whole, capped = hold_out(rows, 5), hold_out(rows, 5, max_users=7)
    assert len(capped.users) == 7
    assert set(capped.users) < set(whole.users)
    assert not np.array_equal(capped.users, whole.users[:7])
    np.testing.assert_array_equal(
        capped.training.interactions.toarray(), whole.training.interactions.toarray()
    )
    places = np.searchsorted(whole.users, capped.users)
    np.testing.assert_array_equal(capped.targets.toarray(), whole.targets.toarray()[places])


def test_rows_too_short_to_split_are_not_judged():
    split = hold_out(training_rows([[1, 0, 0], [0, 0, 0], [0, 1, 0]]), seed=0)
    assert len(split.users) == 0
    assert (split.targets.shape, split.contexts.shape) == ((0, 3), (0, 3))
    assert math.isnan(validation_score([], split, "HR"))


def hand_worked():
    """Two judged rows: item 0 is known of both, items 1 and 2 are held out of the second."""
    rows = training_rows([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    targets = csr_array(np.array([[0, 0, 0, 0, 1], [0, 1, 1, 0, 0]], np.float32))
    return Holdout(rows, np.array([0, 2]), targets)


def test_scores_a_hand_worked_hold_out():
    # Item 0 would lead, but it is masked: the first row hits at rank 2, the second at rank 1.
    scores = np.array([[9, 1, 2, 5, 4], [9, 4, 1, 3, 2]], np.float32)
    second = 1 / math.log2(3)
    assert validation_score([scores], hand_worked(), "HR", k=2) == pytest.approx(75.0)
    assert validation_score([scores], hand_worked(), "nDCG", k=2) == pytest.approx(
        100 * (second + 1 / (1 + second)) / 2
    )


def test_blocks_make_no_difference():
    split = hold_out(training_rows(np.random.default_rng(0).random((40, 25)) < 0.4), seed=1)
    scores = np.random.default_rng(1).integers(0, 5, (len(split.users), 25)).astype(np.float32)
    whole = validation_score([scores], split, "nDCG", k=5)
    blocks = [scores[start : start + 3] for start in range(0, len(scores), 3)]
    assert validation_score(blocks, split, "nDCG", k=5) == whole
    ranking = top_items(scores, split.contexts, 5, tie_seed=0)
    hits = find_hits(ranking, split.targets).sum(axis=1)
    rates = hits / np.minimum(5, np.diff(split.targets.indptr))
    assert validation_score([scores], split, "HR", k=5) == pytest.approx(100 * rates.mean())


def test_refuses_too_few_scores():
    with pytest.raises(ValueError, match="2 validation rows"):
        validation_score([np.zeros((1, 5), np.float32)], hand_worked(), "HR")
