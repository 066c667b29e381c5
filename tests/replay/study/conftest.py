"""Stores of the toy log, with as many periods as the test's module says."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def log_store(request, tmp_path_factory):
    from made_studies import make_log_store

    return make_log_store(tmp_path_factory.mktemp("log"), request.module.NUM_PERIODS)


@pytest.fixture
def path(tmp_path, log_store):
    """A copy of the store for one test."""
    return Path(shutil.copy(log_store, tmp_path / "store.duckdb"))
