import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_rows import rows_of_dense
from scipy.sparse import csr_array

from perennial.models.base import Holdout
from perennial.models.holdout import hold_out, validation_score
from perennial.models.ranking import find_hits, top_items


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
