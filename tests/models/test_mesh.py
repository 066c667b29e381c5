"""Threads of BLAS as the libraries report them, and padded sizes."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from perennial.models.mesh import SMALL, next_power, one_thread, round_up, threads_for


def blas_threads():
    found = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    assert found, "NumPy's and SciPy's own"
    return found


def test_a_small_matrix_has_one_thread_and_a_large_one_all():
    at_start = blas_threads()
    with threads_for(SMALL - 1):
        assert set(blas_threads()) == {1}
    with threads_for(SMALL):
        assert blas_threads() == at_start
    assert blas_threads() == at_start


def test_an_error_leaves_no_limit_behind():
    at_start = blas_threads()
    with pytest.raises(RuntimeError), one_thread():
        raise RuntimeError
    assert blas_threads() == at_start


def test_two_that_overlap_leave_no_limit_behind():
    at_start = blas_threads()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with one_thread():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        inside.wait()
    leave.set()
    thread.join()
    assert blas_threads() == at_start


@pytest.mark.parametrize(
    ("count", "power"), [(0, 1), (1, 1), (2, 2), (3, 4), (512, 512), (513, 1024)]
)
def test_padded_sizes(count, power):
    assert next_power(count) == power
    assert (round_up(0, 4), round_up(9, 4)) == (4, 12)


@given(st.integers(0, 10**6), st.integers(1, 5000))
def test_they_hold_what_is_padded_and_no_more_than_needed(count, step):
    assert 0 <= round_up(count, step) - max(count, 1) < step
    assert max(count, 1) <= next_power(count) < 2 * max(count, 1)
