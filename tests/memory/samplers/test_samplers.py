"""What all samplers promise, and each one's choice on small cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from memory.samplers import svp_cf_user
from memory.samplers.registry import SAMPLERS, find_sampler
from storage.errors import UserError

CHEAP = [name for name in SAMPLERS if name != "svp-cf-user"]


@st.composite
def logs(draw):
    """Binary rows: empty ones, one-item ones, none at all."""
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    shape = (draw(st.integers(0, 12)), draw(st.integers(1, 9)))
    filled = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return csr_array((generator.random(shape) < filled).astype(np.float32))


def check_promises(name, rows, budget, seed):
    sampler = find_sampler(name)
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
@pytest.mark.parametrize("seed", range(6))
def test_so_does_the_one_with_a_model(seed):
    generator = np.random.default_rng(seed)
    shape = (int(generator.integers(1, 12)), int(generator.integers(1, 9)))
    rows = csr_array((generator.random(shape) < 0.4).astype(np.float32))
    check_promises("svp-cf-user", rows, 4, seed)
    check_promises("svp-cf-user", csr_array((3, 4), dtype=np.float32), 4, seed)


@pytest.mark.parametrize("name", ["user-rns", "head-user"])
def test_rows_are_whole(name):
    rows = csr_array((np.random.default_rng(0).random((8, 20)) < 0.3).astype(np.float32))
    found = find_sampler(name)(rows, 5, 0)
    np.testing.assert_array_equal(found.rows.toarray(), rows.toarray()[found.users])


def test_head_users_are_the_longest():
    rows = csr_array(np.tril(np.ones((5, 5), dtype=np.float32)))
    found = find_sampler("head-user")(rows, 3, 0)
    assert found.users.tolist() == [4, 3, 2]


def test_random_users_are_all_as_likely():
    rows = csr_array(np.tril(np.ones((6, 6), dtype=np.float32)))
    sampler = find_sampler("user-rns")
    drawn = np.concatenate([sampler(rows, 2, seed).users for seed in range(3000)])
    # 1,000 expected each, standard deviation 26.
    assert np.abs(np.bincount(drawn, minlength=6) - 1000).max() < 130


def test_random_interactions_are_as_many_as_random_users_would_bring():
    generator = np.random.default_rng(1)
    rows = csr_array((generator.random((200, 60)) < generator.random((200, 1))).astype(np.float32))
    found = find_sampler("interaction-rns")(rows, 40, 0)
    mean = rows.nnz / (np.diff(rows.indptr) > 0).sum()
    assert found.rows.nnz == round(40 * mean)
    # Active users are met first, and keep a part of what they did.
    lengths = np.diff(rows.indptr)
    assert lengths[found.users].mean() > lengths.mean()
    assert (np.diff(found.rows.indptr) <= lengths[found.users]).all()
    assert found.rows.nnz < lengths[found.users].sum()


def test_what_was_right_and_then_is_wrong_is_forgotten():
    right = np.array(
        [[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]], dtype=bool
    )
    assert svp_cf_user.count_forgets(right).tolist() == [2, 1, 2, 0]


@pytest.mark.slow
def test_users_against_the_crowd_are_forgotten_most():
    generator = np.random.default_rng(0)
    dense = np.zeros((60, 400), dtype=np.float32)
    dense[:50, :20] = generator.random((50, 20)) < 0.7
    dense[50:] = generator.random((10, 400)) < 0.05
    found = svp_cf_user.mean_forgets(csr_array(dense), 0)
    assert found[50:].mean() > 1.2 * found[:50].mean()


def test_an_unknown_sampler_is_refused():
    with pytest.raises(UserError, match="choose from"):
        find_sampler("nobody")
