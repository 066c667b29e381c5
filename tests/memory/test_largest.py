"""The choice without a sort beside a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from memory.largest import keep_largest

VALUES = st.sampled_from([0.0, 1e-30, 0.25, 0.5, 0.500001, 1.0, 3e38])


def by_sorting(values, most):
    order = np.argsort(-values, axis=1, kind="stable")[:, :most]
    kept = np.zeros_like(values)
    np.put_along_axis(kept, order, np.take_along_axis(values, order, axis=1), axis=1)
    return kept


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=VALUES),
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
