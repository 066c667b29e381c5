"""Toys, stores of theirs, and a browser; what the tests share can be imported."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("", "report", "service")]


@pytest.fixture
def with_toys(monkeypatch):
    from toys import register_toys

    register_toys(monkeypatch)


@pytest.fixture(scope="session")
def toy_log(tmp_path_factory):
    """A CSV log of five days."""
    from toys import write_log

    return write_log(tmp_path_factory.mktemp("toy-log") / "log.csv")


@pytest.fixture(scope="session")
def toy_store_file(tmp_path_factory, toy_log):
    """A store that holds the log as five periods; copy it before writing."""
    from toys import fill

    from perennial.storage.store import Store

    path = tmp_path_factory.mktemp("toy-store") / "store.duckdb"
    with Store.open(path) as store:
        fill(store, toy_log)
    return path


@pytest.fixture
def store(tmp_path, toy_store_file):
    """A store of one's own that holds the log as five periods."""
    import shutil

    from perennial.storage.store import Store

    path = tmp_path / "store.duckdb"
    shutil.copy(toy_store_file, path)
    with Store.open(path) as opened:
        yield opened


@pytest.fixture(scope="session")
def published_file(tmp_path_factory):
    """A store with two published periods; copy it before writing."""
    from published_store import publish_store

    return publish_store(tmp_path_factory.mktemp("published") / "live.duckdb")


@pytest.fixture(scope="session")
def recommender(published_file):
    """Recommender of that store, in memory."""
    from perennial.replay.recommend.recommender import Recommender
    from perennial.storage.opening import open_for_reading

    with open_for_reading(published_file) as store:
        return Recommender.load(store)


@pytest.fixture(scope="module")
def browser():
    """A headless browser, or a skipped test where there is none."""
    from browser import Browser, find_browser

    if find_browser() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the path")
    with Browser(find_browser()) as opened:
        yield opened
