"""A newly published model replaces the last; a request keeps the model it started with."""

import dataclasses
import logging
import threading
from contextlib import suppress
from datetime import datetime

import pytest
from calls import FakeRecommender, call, make_app, make_service
from patience import PATIENCE, wait_until
from published_store import make_live, publish_period, write_period

from perennial.replay.recommend.catalogue import UnknownName
from perennial.replay.recommend.recommender import RecommendationQuery, RecommendedItem, Recommender
from perennial.replay.service.monitoring import ServiceMetrics
from perennial.replay.service.reload import CurrentModel, StatusReader, StoreFile, Watcher
from perennial.storage.access import snapshot_path
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
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
    """A watcher that loads only the row of the publication."""

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


class TestChecking:
    def test_real_publications_are_loaded(self, path):
        watcher = Watcher(StoreFile(path), CurrentModel(), ServiceMetrics())
        assert not watcher.check()
        for period in (1, 2):
            key = publish_period(path, period)
            assert watcher.check()
            recommender = watcher._current.recommender
            assert isinstance(recommender, Recommender)
            assert (recommender.period, recommender.fit_key) == (period, key)
        with Store.open(path) as store:
            store.write_snapshot()
        assert not watcher.check()

    def test_each_publication_is_loaded_once(self, watcher, path, loads):
        assert not watcher.check()
        assert (watcher._current.recommender, loads) == (None, [])
        publish(path, 1, "a")
        assert watcher.check()
        assert not watcher.check()
        publish(path, 2, "b")
        assert watcher.check()
        assert [one.fit_key for one in loads] == ["a", "b"]
        assert watcher._current.recommender.period == 2
        assert counted(watcher, "perennial_swaps_total") == 2
        assert counted(watcher, "perennial_model_period") == 2
        stamp = counted(watcher, "perennial_published_timestamp_seconds")
        assert stamp == 1767225600, "1 January 2026, UTC"

    @pytest.mark.parametrize(("key", "when"), [("other", 1), ("a", 2)])
    def test_the_same_period_published_again(self, watcher, path, loads, key, when):
        publish(path, 1, "a")
        watcher.check()
        publish(path, 1, key, when)
        assert watcher.check()
        assert len(loads) == 2

    def test_the_same_model_is_not_loaded_again(self, watcher, path, loads, monkeypatch):
        publish(path, 1, "a")
        watcher.check()
        with Store.open(path) as store, store.transaction():
            store.connection.execute("INSERT INTO titles VALUES ('x', 'An x')")
        assert not watcher.check()
        assert len(loads) == 1
        # An unchanged file is not even opened.
        monkeypatch.setattr("perennial.replay.service.reload.open_for_reading", lambda _path: 1 / 0)
        assert not watcher.check()

    def test_a_snapshot_is_a_change(self, path):
        file = StoreFile(path)
        before = file.stamp()
        snapshot_path(path).write_bytes(b"x")
        assert file.stamp() != before
        snapshot_path(path).unlink()
        assert file.stamp() == before
        path.unlink()
        assert file.stamp() == (None, None)


def take_untrained(path):
    with Store.open(path) as store:
        ingest_period(store, write_period(path.with_name("untrained.csv"), 3, num_users=31))


@pytest.mark.parametrize(
    ("user", "second_users", "then", "published"),
    [("u0", 30, None, None), ("u30", 31, None, 1), ("u30", 30, take_untrained, 2)],
    ids=["no publication is left", "the model of the one left is gone", "in no publication"],
)
@pytest.mark.parametrize("is_killed", [False, True])
class TestErasing:
    """A user who is erased is unknown to the next request, before any check of the watcher."""

    @pytest.fixture
    def watcher(self, path, user, second_users, then, published, is_killed, monkeypatch):
        publish_period(path, 1)
        publish_period(path, 2, num_users=second_users)
        if then is not None:
            then(path)
        watcher = Watcher(StoreFile(path), CurrentModel(), ServiceMetrics())
        assert watcher.check()
        self.ask(watcher, user)
        with Store.open(path) as store:
            if is_killed:
                monkeypatch.setattr("perennial.storage.log.rewrite.finish_rewriting", killed)
            with suppress(KeyboardInterrupt):
                erase_users(store, [user])
            left = newest_publication(store)
        assert (None if left is None else left.period) == published
        return watcher

    @staticmethod
    def ask(watcher, user):
        watcher.drop_erased_users()
        return watcher._current.recommender.recommend(RecommendationQuery(user=user))

    def test_the_next_request(self, watcher, user):
        with pytest.raises(UnknownName, match=user):
            self.ask(watcher, user)
        assert self.ask(watcher, "u1")

    def test_the_next_check(self, watcher, user, published):
        if published == 1:
            with pytest.raises(UserError, match="lost or damaged"):
                watcher.check()
        else:
            watcher.check()
        assert user not in watcher._current.recommender.catalogue.user_rows
        # Their history leaves the memory too, with a model that did not change.
        assert (user in watcher._current.recommender.catalogue.user_ids) == (published != 2)


def test_an_inode_that_is_given_again(path, monkeypatch):
    publish_period(path, 1)
    publish_period(path, 2, num_users=31)
    before = path.read_bytes()
    with Store.open(path) as store:
        monkeypatch.setattr("perennial.storage.log.rewrite.finish_rewriting", killed)
        with suppress(KeyboardInterrupt):
            erase_users(store, ["u30"])
    erased = path.read_bytes()
    path.write_bytes(before)
    watcher = Watcher(StoreFile(path), CurrentModel(), ServiceMetrics())
    assert watcher.check()
    assert TestErasing.ask(watcher, "u30")
    path.write_bytes(erased)
    with pytest.raises(UnknownName, match="u30"):
        TestErasing.ask(watcher, "u30")


def killed(_store):
    raise KeyboardInterrupt


def test_a_store_written_anew_that_cannot_be_read_answers_nobody(path):
    publish_period(path, 1)
    watcher = Watcher(StoreFile(path), CurrentModel(), ServiceMetrics())
    watcher.check()
    service = dataclasses.replace(
        make_service(watcher._current.recommender), drop_erased_users=watcher.drop_erased_users
    )
    app, kept = make_app(service=service), path.with_name("kept.duckdb")
    path.rename(kept)
    path.write_bytes(b"another file, half written")
    for body, status in ({"user": "u1"}, 503), ({"items": ["i1"]}, 200):
        assert call(app, "POST", "/recommend", json=body).status_code == status
    kept.replace(path)
    assert call(app, "POST", "/recommend", json={"user": "u1"}).status_code == 200


class TestFailing:
    @pytest.mark.parametrize("error", [UserError("the model's file is lost"), ValueError("a bug")])
    def test_the_old_model_stays_and_the_load_is_retried(self, watcher, path, caplog, error):
        caplog.set_level(logging.INFO)
        publish(path, 1, "a")
        watcher.start()
        wait_until(lambda: watcher._current.recommender is not None)
        original = watcher._load

        def fail(_store):
            raise error

        watcher._load = fail
        publish(path, 2, "b")
        wait_until(lambda: counted(watcher, "perennial_failed_swaps_total") >= 3)
        assert watcher._current.recommender.period == 1
        assert caplog.text.count(str(error)) == 1, "logged once"
        watcher._load = original
        wait_until(lambda: watcher._current.recommender.period == 2)
        watcher.stop()
        assert not watcher._thread.is_alive()

    def test_the_first_check_raises(self, watcher, path):
        path.write_bytes(b"no store")
        with pytest.raises(UserError, match="not a DuckDB file"):
            watcher.check()


def test_a_request_keeps_the_model_it_started_with():
    started, go = threading.Event(), threading.Event()

    def recommend(_query):
        started.set()
        assert go.wait(PATIENCE)
        return (RecommendedItem("old", 1.0, None),)

    service = make_service(FakeRecommender(recommend))
    app, found = make_app(service=service), []
    client = threading.Thread(
        target=lambda: found.append(call(app, "POST", "/recommend", json={"user": "a"}))
    )
    client.start()
    assert started.wait(PATIENCE)
    newer = FakeRecommender(lambda _query: (RecommendedItem("new", 1.0, None),))
    newer.period = 8
    service.current.recommender = newer
    go.set()
    client.join(PATIENCE)
    old = found[0].json()
    assert (old["period"], old["recommendations"][0]["item"]) == (7, "old")
    new = call(app, "POST", "/recommend", json={"user": "a"}).json()
    assert (new["period"], new["recommendations"][0]["item"]) == (8, "new")


def test_the_status_is_read_once_per_change_and_kept(path):
    reads = []
    reader = StatusReader(StoreFile(path), lambda _store: {"read": reads.append(1)})
    assert reader.read() == reader.read() == {"read": None}
    assert len(reads) == 1
    publish(path, 1, "a")
    reader.read()
    assert len(reads) == 2
    path.write_bytes(b"half written")
    assert reader.read() == {"read": None}, "the last one, while the store cannot be read"
    assert len(reads) == 2
