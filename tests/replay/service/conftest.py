"""Puts the published store where the tests of the service find it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def published_file(tmp_path_factory):
    """A store with two published periods; copy it before writing."""
    from published_store import publish_store

    return publish_store(tmp_path_factory.mktemp("published") / "live.duckdb")


@pytest.fixture(scope="session")
def answers(published_file):
    """The model of that store, in memory."""
    from replay.opening import open_for_reading
    from replay.service.answering import Answers

    with open_for_reading(published_file) as store:
        return Answers.load(store)
