"""Herding against numbers worked by hand and against the same on explicit features."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perennial.memory import exemplar_memory as herding
from perennial.memory.exemplar_memory import draw_quotas, herd, herd_groups

# Five rows of length 1; their mean is μ = (0.6, 0.08). Worked by hand, D_j and ⟨w, D_j⟩:
#                      D_0    D_1    D_2    D_3    D_4   argmax
#   w_0 ( 0.6,  0.08)  0.600  0.424  0.432  0.080  0.296   0
#   w_1 ( 0.2,  0.16)  0.200  0.248  0.064  0.160 -0.008   1
#   w_2 ( 0.2, -0.56)  0.200 -0.328  0.496 -0.560  0.568   4
#   w_3 ( 0.2,  0.32)  0.200  0.376 -0.032  0.320 -0.136   1 again
#   w_4 ( 0.2, -0.40)  0.200 -0.200  0.400 -0.400  0.440   4 again
#   w_5 ( 0.2,  0.48)  0.200  0.504 -0.128  0.480 -0.264   1 again
FIVE = np.array([[1, 0], [0.6, 0.8], [0.8, -0.6], [0, 1], [0.6, -0.8]])


@pytest.mark.parametrize(
    ("quota", "chosen"),
    [
        (0, []),
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 4]),
        # ⌈4.4⌉ = 5 turns and ⌈5.5⌉ = 6 turns: they end before a fourth row is found.
        (4, [0, 1, 4]),
        (5, [0, 1, 4]),
    ],
)
def test_five_rows_by_hand(quota, chosen):
    assert herd(FIVE @ FIVE.T, quota).tolist() == chosen


def herd_features(features, quota):
    """As the authors' code has it, on the representations themselves."""
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean = scaled.mean(axis=0)
    weight, chosen, turns = mean.copy(), [], 0
    while len(chosen) < quota and turns < 1.1 * quota:
        best = int(np.argmax(scaled @ weight))
        weight = weight + mean - scaled[best]
        turns += 1
        if best not in chosen:
            chosen.append(best)
    return chosen


@settings(max_examples=60)
# Of two rows both are as near to their mean, and rounding would choose.
@given(size=st.integers(3, 40), width=st.integers(3, 12), seed=st.integers(0, 10_000))
def test_the_gram_matrix_suffices(size, width, seed):
    features = np.random.default_rng(seed).standard_normal((size, width))
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    for quota in {1, size // 2, size}:
        assert herd(scaled @ scaled.T, quota).tolist() == herd_features(features, quota)


def test_the_chosen_stand_for_all_better_than_random_rows_do():
    generator = np.random.default_rng(0)
    features = generator.standard_normal((200, 6)) + 1
    features /= np.linalg.norm(features, axis=1, keepdims=True)

    def distance(rows):
        return np.linalg.norm(features[rows].mean(axis=0) - features.mean(axis=0))

    random = [distance(generator.permutation(200)[:10]) for _ in range(50)]
    assert distance(herd(features @ features.T, 10)) < 0.5 * np.median(random)


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    budget=st.integers(1, 200),
    seed=st.integers(0, 1000),
)
def test_quotas_stay_within_the_budget_and_the_groups(counts, budget, seed):
    counts = np.array(counts)
    quotas = draw_quotas(counts, budget, np.random.default_rng(seed))
    assert quotas.sum() <= budget
    assert (quotas >= 0).all()
    assert (quotas <= counts).all()


def test_quotas_go_by_frequency():
    counts = np.array([500, 300, 200])
    generator = np.random.default_rng(0)
    mean = np.mean([draw_quotas(counts, 100, generator) for _ in range(400)], axis=0)
    # 50, 30 and 20 expected, each with a standard error of at most 0.25.
    np.testing.assert_allclose(mean, [50, 30, 20], atol=1.2)


def similarity_of(size, seed=0):
    """Of rows at random, and which were asked for at a time."""
    features = np.random.default_rng(seed).standard_normal((size, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    gram = features @ features.T
    asked = []

    def similarity(numbers):
        asked.append(numbers)
        return gram[np.ix_(numbers, numbers)]

    return similarity, asked


@given(
    groups=st.lists(st.integers(0, 8), max_size=60),
    budget=st.integers(1, 80),
    seed=st.integers(0, 1000),
)
@example(groups=[], budget=5, seed=0)
def test_what_is_chosen(groups, budget, seed):
    groups = np.array(groups, dtype=np.int64)
    similarity, asked = similarity_of(len(groups))
    chosen, again = (
        herd_groups(groups, budget, similarity, np.random.default_rng(seed)) for _ in range(2)
    )
    np.testing.assert_array_equal(chosen, again)
    assert chosen.dtype == np.int64
    assert len(chosen) <= budget
    assert (np.diff(chosen) > 0).all(), "ascending, so distinct"
    assert ((chosen >= 0) & (chosen < len(groups))).all()
    # No group gives more than it was drawn for.
    present, counts = np.unique(groups, return_counts=True)
    if len(groups):
        quotas = draw_quotas(counts, budget, np.random.default_rng(seed))
        taken = np.array([(groups[chosen] == group).sum() for group in present])
        assert (taken <= quotas).all()
        assert (taken[quotas > 0] > 0).all()
    # Nothing is asked of rows that are alone in their group.
    alone = np.isin(groups, present[counts == 1])
    assert not any(alone[numbers].any() for numbers in asked)


def test_rows_alone_in_their_groups():
    similarity, asked = similarity_of(12)
    generator = np.random.default_rng(0)
    few = herd_groups(np.arange(12), 4, similarity, generator)
    assert 1 <= len(few) <= 4
    everyone = herd_groups(np.arange(12), 10_000, similarity, generator)
    np.testing.assert_array_equal(everyone, np.arange(12))
    assert asked == []


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_how_many_are_asked_for_at_a_time_changes_nothing(chunk, monkeypatch):
    groups = np.random.default_rng(3).integers(0, 15, 120)
    groups[:30] = 20
    similarity, asked = similarity_of(120)
    whole = herd_groups(groups, 60, similarity, np.random.default_rng(1))
    assert len(asked) == 1
    asked.clear()
    monkeypatch.setattr(herding, "_CHUNK", chunk)
    parts = herd_groups(groups, 60, similarity, np.random.default_rng(1))
    np.testing.assert_array_equal(parts, whole)
    assert len(asked) > 1
    # A group larger than that comes whole and by itself.
    assert all(len(rows) <= chunk or len(set(groups[rows])) == 1 for rows in asked)
    seen = np.concatenate(asked)
    assert len(np.unique(seen)) == len(seen)
