"""How many threads the libraries take, as they tell it themselves."""

import threading

import pytest
from threadpoolctl import threadpool_info

from perennial.models.mesh import SMALL, one_thread, threads_for


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
