import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.stream.noise import Noise, add_noise

dense_rows = st.integers(1, 12).flatmap(
    lambda width: st.lists(
        st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=12
    ).map(lambda rows: np.array(rows, dtype=np.float32))
)
percents = st.one_of(st.just(0.0), st.just(100.0), st.floats(0, 100))


def noisy(dense, percent, kind="swap", seed=0):
    found = add_noise(csr_array(dense), Noise(percent, kind), seed)
    assert set(found.data.tolist()) <= {1.0}
    return found.toarray()


@given(dense_rows, percents, st.integers(0, 3))
def test_a_swap_changes_exactly_so_many_of_a_users_items(dense, percent, seed):
    found = noisy(dense, percent, seed=seed)
    own, width = dense.sum(axis=1), dense.shape[1]
    np.testing.assert_array_equal(found.sum(axis=1), own)
    removed = ((dense == 1) & (found == 0)).sum(axis=1)
    exact = percent * own / 100
    left = width - own
    assert (removed >= np.minimum(np.floor(exact + 1e-9), left)).all()
    assert (removed <= np.minimum(np.ceil(exact - 1e-9), left)).all()


@given(dense_rows, percents, st.integers(0, 3))
def test_a_flip_changes_exactly_so_many_of_all_items(dense, percent, seed):
    changed = (noisy(dense, percent, "flip", seed) != dense).sum(axis=1)
    exact = percent * dense.shape[1] / 100
    assert (changed >= np.floor(exact + 1e-9)).all()
    assert (changed <= np.ceil(exact - 1e-9)).all()


@given(dense_rows, st.sampled_from(["swap", "flip"]), st.integers(0, 3))
def test_what_changes_at_some_noise_changes_at_more(dense, kind, seed):
    before = np.zeros(dense.shape, dtype=bool)
    for percent in (0, 5, 20, 50, 90):
        changed = noisy(dense, percent, kind, seed) != dense
        assert not (before & ~changed).any()
        before = changed


@pytest.mark.parametrize("kind", ["swap", "flip"])
def test_the_draw_follows_from_its_seed(kind):
    dense = (np.random.default_rng(0).random((60, 40)) < 0.3).astype(np.float32)
    np.testing.assert_array_equal(noisy(dense, 30, kind, 4), noisy(dense, 30, kind, 4))
    assert (noisy(dense, 30, kind, 4) != noisy(dense, 30, kind, 5)).any()


def test_rounding_is_exact_on_average_and_every_item_is_as_likely():
    dense = np.zeros((20_000, 10), dtype=np.float32)
    dense[:, 0] = 1
    assert noisy(dense, 30)[:, 0].mean() == pytest.approx(0.7, abs=0.015)
    dense[:, :4] = 1
    share = (noisy(dense, 50) != dense).mean(axis=0)
    np.testing.assert_allclose(share[:4], 2 / 4, atol=0.015)
    np.testing.assert_allclose(share[4:], 2 / 6, atol=0.015)


@pytest.mark.parametrize("percent", [-1.0, 101.0, float("nan")])
def test_a_part_is_between_nothing_and_all(percent):
    with pytest.raises(UserError, match="is not between 0 and 100%"):
        Noise(percent)
