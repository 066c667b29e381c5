"""Promises of all samplers, and each one's choice on small cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.memory.samplers.base import thin, thin_to_mean
from perennial.memory.samplers.registry import SAMPLERS
from perennial.memory.samplers.svp_cf_user import mean_mistakes, proxy_mistakes
from perennial.storage.errors import UserError

CHEAP = [name for name in SAMPLERS if name != "svp-cf-user"]


@st.composite
def logs(draw):
    """Binary rows: empty ones, one-item ones, none at all."""
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    shape = (draw(st.integers(0, 12)), draw(st.integers(1, 9)))
    filled = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return csr_array((generator.random(shape) < filled).astype(np.float32))


def check_promises(name, rows, budget, seed):
    sampler = SAMPLERS.load(name)
    found = sampler(rows, budget, seed)
    count = len(found.users)
    assert count <= budget
    assert count == min(budget, int((np.diff(rows.indptr) > 0).sum()))
    assert found.rows.shape == (count, rows.shape[1])
    assert len(set(found.users.tolist())) == count
    assert (np.diff(found.rows.indptr) > 0).all()
    assert (np.diff(found.priorities) <= 0).all()
    whole = rows.toarray()[found.users]
    assert (found.rows.toarray() <= whole).all()
    again = sampler(rows, budget, seed)
    np.testing.assert_array_equal(again.users, found.users)
    np.testing.assert_array_equal(again.rows.toarray(), found.rows.toarray())
    return found


@pytest.mark.parametrize("name", CHEAP)
@given(logs(), st.integers(1, 14), st.integers(0, 5))
def test_the_budget_is_kept_and_rows_are_parts_of_real_ones(name, rows, budget, seed):
    check_promises(name, rows, budget, seed)


@pytest.mark.slow
@settings(max_examples=30)
@given(logs(), st.integers(1, 14), st.integers(0, 5))
def test_so_does_the_one_with_a_model(rows, budget, seed):
    check_promises("svp-cf-user", rows, budget, seed)


@pytest.mark.parametrize("name", ["user-rns", "head-user"])
def test_rows_are_whole(name):
    rows = csr_array((np.random.default_rng(0).random((8, 20)) < 0.3).astype(np.float32))
    found = SAMPLERS.load(name)(rows, 5, 0)
    np.testing.assert_array_equal(found.rows.toarray(), rows.toarray()[found.users])


def test_head_users_are_the_longest_and_equally_long_ones_in_a_seeded_order():
    sampler = SAMPLERS.load("head-user")
    found = sampler(csr_array(np.tril(np.ones((5, 5), dtype=np.float32))), 3, 0)
    assert found.users.tolist() == [4, 3, 2]
    rows = csr_array(np.ones((8, 3), dtype=np.float32))
    assert len({tuple(sampler(rows, 8, seed).users.tolist()) for seed in range(5)}) == 5


def test_random_users_are_all_as_likely():
    rows = csr_array(np.tril(np.ones((6, 6), dtype=np.float32)))
    sampler = SAMPLERS.load("user-rns")
    drawn = np.concatenate([sampler(rows, 2, seed).users for seed in range(3000)])
    # 1,000 expected each, standard deviation 26.
    assert np.abs(np.bincount(drawn, minlength=6) - 1000).max() < 130


def test_random_interactions_are_as_many_as_random_users_would_bring():
    generator = np.random.default_rng(1)
    rows = csr_array((generator.random((200, 60)) < generator.random((200, 1))).astype(np.float32))
    found = SAMPLERS.load("interaction-rns")(rows, 40, 0)
    mean = rows.nnz / (np.diff(rows.indptr) > 0).sum()
    assert found.rows.nnz == round(40 * mean)
    # Active users are met first, and keep a part of what they did.
    lengths = np.diff(rows.indptr)
    assert lengths[found.users].mean() > lengths.mean()
    assert (np.diff(found.rows.indptr) <= lengths[found.users]).all()
    assert found.rows.nnz < lengths[found.users].sum()


def test_a_user_counts_the_mean_share_of_wrong_answers():
    rows = csr_array(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=np.float32))
    asked = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 0, 1, 1, 0], [1, 0, 1, 1, 0]])
    wrong = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
    found = mean_mistakes(rows, wrong.astype(bool), asked.astype(bool))
    # User 0: 3/4 and 1/2; user 2: 3/4, wrong from the first; user 3: never, and never asked.
    np.testing.assert_allclose(found, [0.625, 0.0, 0.75, 0.0])


@pytest.mark.slow
def test_the_proxy_is_asked_about_what_a_user_does_not_have():
    generator = np.random.default_rng(3)
    shares = np.where(np.arange(60) < 30, 0.3, 0.8)
    rows = csr_array((generator.random((60, 40)) < shares[:, None]).astype(np.float32))
    wrong, asked = proxy_mistakes(rows, 0)
    assert wrong.shape == asked.shape == (len(asked), rows.nnz)
    assert not (wrong & ~asked).any()
    # A user with n of the 40 items is asked (40 - n) / 40 of the time.
    lengths = np.repeat(np.diff(rows.indptr), np.diff(rows.indptr))
    for chosen in (lengths <= 20, lengths > 20):
        assert abs(asked[:, chosen].mean() - (1 - lengths[chosen] / 40).mean()) < 0.02
    # It learns.
    assert wrong[-1].sum() / asked[-1].sum() < 0.7 * wrong[0].sum() / asked[0].sum()


@pytest.mark.slow
def test_users_who_follow_no_crowd_are_the_hardest():
    generator = np.random.default_rng(0)
    dense = np.zeros((220, 200), dtype=np.float32)
    for user in range(200):
        start = 50 * (user % 4)
        dense[user, start : start + 50] = generator.random(50) < 0.6
    dense[200:] = generator.random((20, 200)) < 0.15
    assert (SAMPLERS.load("svp-cf-user")(csr_array(dense), 20, 0).users >= 200).sum() >= 16


def test_an_unknown_sampler_is_refused():
    with pytest.raises(UserError, match="choose from"):
        SAMPLERS.load("nobody")


def test_thinning_keeps_the_largest_key_of_each_row_and_then_of_all():
    keys = csr_array(np.array([[0.9, 0.8, 0.7], [0.2, 0.0, 0.1], [0.0, 0.5, 0.6]]))
    assert thin(keys, 5).toarray().tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 1]]
    assert thin(keys, 4).toarray().tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert thin(keys, 0).toarray().tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]


@given(st.integers(0, 500), st.integers(0, 8), st.integers(0, 60))
def test_rows_get_shorter_and_none_gets_empty(seed, count, interactions):
    dense = np.random.default_rng(seed).random((count, 7)) < 0.5
    rows = csr_array(dense[dense.any(axis=1)].astype(np.float32))
    part = thin_to_mean(rows, (10, interactions), seed)
    assert (part.dtype, part.shape) == (np.float32, rows.shape)
    assert (np.diff(part.indptr) > 0).all()
    assert (part.toarray() <= rows.toarray()).all()
    wanted = round(rows.shape[0] * interactions / 10)
    assert part.nnz == min(rows.nnz, max(rows.shape[0], wanted))


def test_every_interaction_is_as_likely_to_stay():
    rows = csr_array(np.ones((2, 6), dtype=np.float32))
    kept = sum(thin_to_mean(rows, (2, 6), seed).toarray() for seed in range(2000))
    # 1,000 expected each, standard deviation 22.
    assert np.abs(kept - 1000).max() < 110
