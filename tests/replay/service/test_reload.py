"""A newly published model takes the place of the last; requests keep the one they began on."""

import logging
import shutil
import threading
import time
from datetime import datetime

import pytest
from calls import FakeRecommender, call, make_app, make_service
from published_store import make_live, publish_period

from perennial.replay.recommend.recommender import RecommendedItem, Recommender
from perennial.replay.service.monitoring import ServiceMetrics
from perennial.replay.service.reload import CurrentModel, StatusReader, StoreFile, Watcher
from perennial.storage.access import snapshot_path
from perennial.storage.errors import UserError
from perennial.storage.log.rewrite import erase_users
from perennial.storage.results.publications import (
    Publication,
    insert_publication,
    newest_publication,
)
from perennial.storage.store import Store


class Fake(FakeRecommender):
    def __init__(self, publication):
        super().__init__()
        self.period, self.fit_key = publication.period, publication.fit_key
        self.published = publication.published


@pytest.fixture
def path(tmp_path):
    return make_live(tmp_path / "live.duckdb")


@pytest.fixture
def loads():
    return []


@pytest.fixture
def watcher(path, loads):
    """One that loads nothing but what the publication says."""
    from perennial.storage.results.publications import newest_publication

    def load(store):
        loads.append(newest_publication(store))
        return Fake(loads[-1])

    return Watcher(StoreFile(path), CurrentModel(), ServiceMetrics(), every=0.02, load=load)


def publish(path, period, key, when=1):
    with Store.open(path) as store, store.transaction():
        insert_publication(store, Publication(period, key, {}, datetime(2026, 1, when)))


def counted(watcher, name):
    lines = watcher._metrics.render().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestLooking:
    def test_who_is_erased_is_unknown_at_once(self, path):
        publish_period(path, 1)
        watcher = Watcher(StoreFile(path), CurrentModel(), ServiceMetrics())
        assert watcher.look()
        users = list(watcher._current.answers.catalogue.user_rows)
        with Store.open(path) as store:
            list(erase_users(store, users[:1]))
            assert newest_publication(store) is None
        assert watcher.look()
        assert list(watcher._current.answers.catalogue.user_rows) == users[1:]
        with Store.open(path) as store:
            store.write_snapshot()
        assert not watcher.look()

    def test_nothing_published_is_no_model(self, watcher, loads):
        assert not watcher.look()
        assert watcher._current.answers is None
        assert loads == []

    def test_each_publication_is_loaded_once(self, watcher, path, loads):
        publish(path, 1, "a")
        assert watcher.look()
        assert not watcher.look()
        publish(path, 2, "b")
        assert watcher.look()
        assert [one.fit_key for one in loads] == ["a", "b"]
        assert watcher._current.answers.period == 2
        assert counted(watcher, "perennial_swaps_total") == 2
        assert counted(watcher, "perennial_model_period") == 2
        stamp = counted(watcher, "perennial_published_timestamp_seconds")
        assert stamp == 1767225600, "1 January 2026, UTC"

    @pytest.mark.parametrize(("key", "when"), [("other", 1), ("a", 2)])
    def test_the_same_period_published_again(self, watcher, path, loads, key, when):
        publish(path, 1, "a")
        watcher.look()
        publish(path, 1, key, when)
        assert watcher.look()
        assert len(loads) == 2

    def test_an_unchanged_file_is_not_even_opened(self, watcher, path, loads, monkeypatch):
        publish(path, 1, "a")
        watcher.look()
        monkeypatch.setattr("perennial.replay.service.reload.open_for_reading", lambda _path: 1 / 0)
        assert not watcher.look()

    def test_a_changed_file_with_the_same_model_loads_nothing(self, watcher, path, loads):
        publish(path, 1, "a")
        watcher.look()
        with Store.open(path) as store, store.transaction():
            store.connection.execute("INSERT INTO titles VALUES ('x', 'An x')")
        assert not watcher.look()
        assert len(loads) == 1

    def test_a_snapshot_is_a_change(self, path):
        file = StoreFile(path)
        before = file.stamp()
        snapshot_path(path).write_bytes(b"x")
        assert file.stamp() != before
        snapshot_path(path).unlink()
        assert file.stamp() == before
        path.unlink()
        assert file.stamp() == (None, None)


class TestFailing:
    def test_the_old_model_goes_on_and_the_load_is_tried_again(
        self, watcher, path, loads, monkeypatch, caplog
    ):
        caplog.set_level(logging.INFO)
        publish(path, 1, "a")
        watcher.start()
        wait_for(lambda: watcher._current.answers is not None)
        original = watcher._load

        def fail(_store):
            raise UserError("the model's file is lost")

        watcher._load = fail
        publish(path, 2, "b")
        wait_for(lambda: counted(watcher, "perennial_failed_swaps_total") >= 3)
        assert watcher._current.answers.period == 1
        assert caplog.text.count("the model's file is lost") == 1, "said once"
        watcher._load = original
        wait_for(lambda: watcher._current.answers.period == 2)
        watcher.stop()
        assert not watcher._thread.is_alive()

    def test_anything_else_that_fails_does_not_end_the_thread(self, watcher, path):
        watcher._load = lambda _store: 1 / 0
        publish(path, 1, "a")
        watcher.start()
        wait_for(lambda: counted(watcher, "perennial_failed_swaps_total") >= 2)
        assert watcher._thread.is_alive()
        watcher.stop()

    def test_the_first_look_tells_what_is_wrong(self, watcher, path):
        path.write_bytes(b"no store")
        with pytest.raises(UserError, match="not a DuckDB file"):
            watcher.look()


def test_a_request_ends_on_the_model_it_began_with():
    begun, go = threading.Event(), threading.Event()

    def answer(_question):
        begun.set()
        assert go.wait(20)
        return (RecommendedItem("old", 1.0, None),)

    service = make_service(FakeRecommender(answer))
    app, found = make_app(service=service), []
    asking = threading.Thread(
        target=lambda: found.append(call(app, "POST", "/recommend", json={"user": "a"}))
    )
    asking.start()
    assert begun.wait(20)
    newer = FakeRecommender(lambda _question: (RecommendedItem("new", 1.0, None),))
    newer.period = 8
    service.current.answers = newer
    go.set()
    asking.join(20)
    old = found[0].json()
    assert (old["period"], old["recommendations"][0]["item"]) == (7, "old")
    new = call(app, "POST", "/recommend", json={"user": "a"}).json()
    assert (new["period"], new["recommendations"][0]["item"]) == (8, "new")


def test_real_publications_are_taken_over(path):
    watcher = Watcher(StoreFile(path), CurrentModel(), ServiceMetrics())
    assert not watcher.look()
    for period in (1, 2):
        key = publish_period(path, period)
        assert watcher.look()
        answers = watcher._current.answers
        assert isinstance(answers, Recommender)
        assert (answers.period, answers.fit_key) == (period, key)


class TestStatus:
    def test_it_is_read_once_per_change(self, path):
        reads = []
        reader = StatusReader(StoreFile(path), lambda _store: {"read": reads.append(1)})
        reader.read()
        reader.read()
        assert len(reads) == 1
        publish(path, 1, "a")
        reader.read()
        assert len(reads) == 2

    def test_what_was_so_is_told_while_the_store_cannot_be_read(self, path, tmp_path):
        reader = StatusReader(StoreFile(path), lambda _store: {"good": True})
        shutil.copy(path, tmp_path / "copy")
        reader.read()
        path.write_bytes(b"half written")
        assert reader.read() == {"good": True}
