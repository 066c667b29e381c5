import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.models.ranking import find_hits, hit_rate, ndcg, top_items
from perennial.storage.errors import UserError


def rows_of(*rows, width):
    dense = np.zeros((len(rows), width), dtype=np.float32)
    for row, items in enumerate(rows):
        dense[row, list(items)] = 1.0
    return csr_array(dense)


def tie_order(num_items, tie_seed):
    """The order in which the items are ranked when nothing tells them apart."""
    return top_items(np.zeros((1, num_items), np.float32), None, num_items, tie_seed)[0].tolist()


def rank_naively(scores, excluded, k, tie_seed):
    place = {item: place for place, item in enumerate(tie_order(scores.shape[1], tie_seed))}
    ranking = []
    for row in range(len(scores)):
        allowed = [item for item in place if excluded is None or not excluded[row, item]]
        best = sorted(allowed, key=lambda item: (-scores[row, item], place[item]))[:k]
        ranking.append(best + [-1] * (k - len(best)))
    return np.array(ranking).reshape(len(scores), k)


def test_ranks_a_hand_worked_block():
    scores = np.array([[0.1, 0.9, 0.5, -2.0], [3.0, 1.0, 2.0, 4.0]], np.float32)
    excluded = rows_of([1], [], width=4)
    assert top_items(scores, excluded, 3, tie_seed=0).tolist() == [[2, 0, 3], [3, 0, 2]]
    assert top_items(scores, None, 2, tie_seed=0).tolist() == [[1, 2], [3, 0]]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_ranks_nothing_of_nothing(shape):
    ranking = top_items(np.zeros(shape, np.float32), None, 2, tie_seed=0)
    assert ranking.shape == (shape[0], 2)
    assert (ranking == -1).all()


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_refuses_scores_without_an_order(bad):
    scores = np.zeros((4, 7), np.float32)
    scores[2, 3] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        top_items(scores, None, 2, tie_seed=0)


def test_ranks_the_extremes_of_float32():
    limits = np.finfo(np.float32)
    scores = np.array([[limits.min, 0.0, limits.max, -limits.tiny, limits.tiny]], np.float32)
    assert top_items(scores, None, 5, tie_seed=1).tolist() == [[2, 4, 1, 3, 0]]


def test_zero_and_minus_zero_tie():
    zeros = np.zeros((1, 12), np.float32)
    signed = zeros.copy()
    signed[0, ::2] = -0.0
    np.testing.assert_array_equal(top_items(signed, None, 12, 5), top_items(zeros, None, 12, 5))


@given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(1, 6),
    num_items=st.integers(1, 400),
    levels=st.sampled_from([1, 2, 5, 1000]),
    k=st.integers(1, 12),
    density=st.sampled_from([0.0, 0.1, 0.95]),
)
def test_agrees_with_a_full_sort(seed, num_rows, num_items, levels, k, density):
    generator = np.random.default_rng(seed)
    scores = generator.integers(-levels, levels, (num_rows, num_items)).astype(np.float32) / 7
    excluded = generator.random((num_rows, num_items)) < density
    given_scores = scores.copy()
    ranking = top_items(scores, csr_array(excluded.astype(np.float32)), k, tie_seed=seed)
    np.testing.assert_array_equal(ranking, rank_naively(scores, excluded, k, seed))
    assert ranking.dtype == np.int32
    np.testing.assert_array_equal(scores, given_scores)


def test_agrees_with_a_full_sort_over_several_pieces():
    generator = np.random.default_rng(3)
    scores = generator.integers(0, 50, (300, 4000)).astype(np.float32)
    scores[17] = 0.0
    excluded = csr_array((generator.random(scores.shape) < 0.01).astype(np.float32))
    ranking = top_items(scores, excluded, 20, tie_seed=9)
    few = np.array([0, 17, 130, 131, 132, 262, 263, 299])
    np.testing.assert_array_equal(
        ranking[few], rank_naively(scores[few], excluded[few].toarray(), 20, 9)
    )


def test_equal_scores_favour_no_item():
    num_items, num_seeds = 20, 2000
    places = np.array([np.argsort(tie_order(num_items, seed)) for seed in range(num_seeds)])
    # The place of an item is uniform on 0..19, so its mean has this standard error.
    standard_error = math.sqrt((num_items**2 - 1) / 12 / num_seeds)
    assert np.abs(places.mean(axis=0) - (num_items - 1) / 2).max() < 4 * standard_error


def test_relabelling_items_changes_no_expected_metric():
    # Items 0..3 are targets, 4 and 5 are not; 0, 1, 4 and 5 tie for the two places.
    scores = np.array([[1.0, 1.0, 0.0, 0.0, 1.0, 1.0]], np.float32)
    relabelled = np.array([5, 3, 1, 0, 2, 4])
    expected = 0.5
    for labels in (np.arange(6), relabelled):
        moved = np.empty_like(scores)
        moved[:, labels] = scores
        targets = rows_of(labels[:4], width=6)
        rates = [
            hit_rate(find_hits(top_items(moved, None, 2, seed), targets), np.array([4]))[0]
            for seed in range(3000)
        ]
        assert abs(np.mean(rates) - expected) < 4 * np.std(rates) / math.sqrt(len(rates))


def test_finds_hits_and_never_counts_padding():
    ranking = np.array([[4, 0, -1], [2, 3, 1], [-1, -1, -1]], np.int32)
    targets = rows_of([0, 5], [], [0, 1, 2, 3, 4, 5], width=6)
    assert find_hits(ranking, targets).tolist() == [
        [False, True, False],
        [False, False, False],
        [False, False, False],
    ]


def test_hit_rate_of_a_hand_worked_block():
    hits = np.array([[True, False, True], [False, False, True], [False, False, False]])
    np.testing.assert_allclose(hit_rate(hits, np.array([2, 9, 1])), [1.0, 1 / 3, 0.0])


def test_ndcg_of_a_hand_worked_block():
    hits = np.array([[True, False, True], [False, True, False], [True, True, False]])
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    np.testing.assert_allclose(
        ndcg(hits, np.array([2, 7, 2])),
        [(1 + third) / (1 + second), second / (1 + second + third), 1.0],
    )


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 15))
def test_figures_lie_in_the_unit_interval_and_reach_its_ends(seed, k):
    generator = np.random.default_rng(seed)
    num_targets = generator.integers(1, 20, 8)
    best = np.arange(k)[None, :] < num_targets[:, None]
    hits = best & (generator.random(best.shape) < 0.5)
    for figure in (hit_rate, ndcg):
        np.testing.assert_allclose(figure(best, num_targets), 1.0)
        assert (figure(np.zeros_like(best), num_targets) == 0.0).all()
        assert (figure(hits, num_targets) <= 1.0 + 1e-12).all()
