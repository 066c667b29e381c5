"""The sizes that arrays are padded to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.models.mesh import next_power, round_up


def test_multiples():
    assert round_up(0, 4) == 4
    assert round_up(9, 4) == 12


@pytest.mark.parametrize(
    ("count", "power"), [(0, 1), (1, 1), (2, 2), (3, 4), (512, 512), (513, 1024)]
)
def test_powers(count, power):
    assert next_power(count) == power


@given(st.integers(0, 10**6), st.integers(1, 5000))
def test_they_hold_what_is_padded_and_no_more_than_needed(count, step):
    assert 0 <= round_up(count, step) - max(count, 1) < step
    assert max(count, 1) <= next_power(count) < 2 * max(count, 1)
