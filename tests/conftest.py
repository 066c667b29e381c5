"""Fixtures that all tests share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# What test files share, such as `command_line`.
sys.path.insert(0, str(Path(__file__).parent))

# A busy machine must not fail a test: no time limit per example anywhere.
settings.register_profile("perennial", deadline=None)
settings.load_profile("perennial")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real logs that may not be shipped; skips where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PERENNIAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real logs in {folder}; set PERENNIAL_DATA to a folder that has them")
    return folder
