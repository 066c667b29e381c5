"""The choice without a sort beside a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perennial.memory.distill.top_k import GROUP, group_maxima, keep_largest, largest_of_columns

VALUES = st.sampled_from([0.0, 1e-30, 0.25, 0.5, 0.500001, 1.0, 3e38])


def by_sorting(values, most):
    order = np.argsort(-values, axis=1, kind="stable")[:, :most]
    kept = np.zeros_like(values)
    np.put_along_axis(kept, order, np.take_along_axis(values, order, axis=1), axis=1)
    return kept


@given(
    arrays(np.float32, st.sampled_from([(1, 1), (2, 8), (8, 5), (3, 2)]), elements=VALUES),
    st.integers(1, 9),
)
def test_it_is_a_stable_sort(values, most):
    found = np.asarray(keep_largest(jnp.asarray(values), most))
    np.testing.assert_array_equal(found, by_sorting(values, min(most, values.shape[1])))


@pytest.mark.parametrize("most", [1, 7, 60, 199])
def test_it_is_a_sort_on_many_columns(most):
    values = np.random.default_rng(0).random((5, 200)).astype(np.float32)
    values[:, ::3] = 1.0
    found = np.asarray(jax.jit(keep_largest, static_argnums=1)(jnp.asarray(values), most))
    np.testing.assert_array_equal(found, by_sorting(values, most))


def test_no_bound_keeps_all():
    values = jnp.array([[0.5, 0.0, 1.0]])
    assert keep_largest(values, None) is values
    assert keep_largest(values, 3) is values


@given(
    arrays(
        np.float32,
        st.tuples(st.sampled_from([GROUP, 3 * GROUP]), st.integers(1, 3)),
        elements=VALUES,
        fill=st.just(np.float32(0)),
    ),
    st.integers(1, 70),
)
def test_columns_of_large_arrays_are_sorted_alike(values, most):
    rows, columns, found = largest_of_columns(values, group_maxima(values), most)
    kept = np.zeros_like(values)
    kept[rows, columns] = found
    np.testing.assert_array_equal(kept.T, by_sorting(np.ascontiguousarray(values.T), most))
    assert len(set(zip(rows, columns, strict=True))) == len(rows) == np.count_nonzero(kept)


@pytest.mark.parametrize("most", [1, 5, 200])
def test_columns_of_many_groups_are_sorted_alike(most):
    values = np.random.default_rng(0).random((50 * GROUP, 7)).astype(np.float32)
    values[::3, 2] = 1.0
    values[:, 3] = 0.0
    rows, columns, found = largest_of_columns(values, group_maxima(values), most)
    kept = np.zeros_like(values)
    kept[rows, columns] = found
    np.testing.assert_array_equal(kept.T, by_sorting(np.ascontiguousarray(values.T), most))
