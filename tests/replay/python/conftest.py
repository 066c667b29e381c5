"""A log for the library and for the command line."""

from pathlib import Path

import pytest
from command_line import write_log


@pytest.fixture(scope="session")
def csv(tmp_path_factory) -> Path:
    """A random log of 1,200 lines."""
    return write_log(tmp_path_factory.mktemp("library") / "log.csv")
