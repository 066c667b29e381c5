"""Results on two devices equal those on one, to rounding."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.campaign

TOLERANCE = 2e-5
"""Share of the largest value: float32 sums in another order."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    script = Path(__file__).parent / "two_devices.py"
    for count in (1, 2):
        subprocess.run(  # noqa: S603  # our own program
            [sys.executable, script, str(count), folder / f"{count}.npz"],
            cwd=script.parents[1],
            check=True,
            timeout=600,
        )
    return {count: dict(np.load(folder / f"{count}.npz")) for count in (1, 2)}


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max(), rtol=0)


def test_the_kernel_matrix_is_shared_out(made):
    assert (made[1]["devices"], len(made[1]["shares"]), made[2]["devices"]) == (0, 0, 2)
    assert list(made[2]["shares"]) == [512, 512]


def test_fits_and_scores_are_the_same(made):
    np.testing.assert_array_equal(made[2]["validation"], made[1]["validation"])
    close(made[2]["scores"], made[1]["scores"])


def test_every_step_of_a_distillation_is_on_both(made):
    assert (set(made[1]["lies_on"]), set(made[2]["lies_on"])) == ({1}, {2})


def test_summaries_are_the_same(made):
    losses = np.nan_to_num(made[2]["losses"]), np.nan_to_num(made[1]["losses"])
    close(*losses)
    assert np.isfinite(made[2]["losses"][1:]).all()
    np.testing.assert_allclose(made[2]["summary"], made[1]["summary"], atol=1e-3)
