"""A store written anew is the store that the changed log would have made."""

import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.matrices import (
    count_known_items,
    read_events,
    read_item_counts,
    read_rows,
)
from perennial.storage.log.periods import fingerprint, first_retained_period, list_periods
from perennial.storage.log.rewrite import drop_events, erase_users
from perennial.storage.log.vocabulary import item_ids, read_titles, user_ids, write_titles
from perennial.storage.results.fits import Fit, insert_fit
from perennial.storage.results.publications import Publication, insert_publication
from perennial.storage.store import Store

Event = tuple[str, str, int]
Log = list[list[Event]]
"""The events of each period."""


def ingest(folder, name, log):
    path = folder / f"{name}.duckdb"
    with Store.open(path) as store:
        for number, events in enumerate(log, start=1):
            file = folder / f"{name}-{number}.csv"
            file.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in events))
            ingest_period(store, file, late="merge" if name.startswith("late") else "refuse")
    return path


def facts(path):
    """All that a store says of its log."""
    with Store.open(path, read_only=True) as store:
        periods = list_periods(store)
        last = len(periods)
        events = read_events(store, 1, last)
        rows = read_rows(store, 1, last, num_items=count_known_items(store, last))
        return [
            fingerprint(store, last),
            [(one.period, one.interactions, one.kept, one.users, one.new_items) for one in periods],
            store.rows("SELECT * FROM users ORDER BY user_index"),
            store.rows("SELECT * FROM items ORDER BY item_index"),
            store.rows("SELECT * FROM events"),
            events.users.tolist(),
            events.times.tolist(),
            rows.interactions.toarray().tolist(),
        ]


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""An example is several stores, too dear to shrink."""

EVENTS = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdef"), st.integers(0, 9)),
    min_size=1,
    max_size=12,
)
LOGS = st.lists(EVENTS, min_size=1, max_size=4).map(
    lambda log: [
        [(user, item, 10 * number + time) for user, item, time in events]
        for number, events in enumerate(log, start=1)
    ]
)


@given(log=LOGS, user=st.sampled_from("uvwx"))
@settings(max_examples=12, phases=PHASES)
def test_without_a_user_it_is_the_store_that_never_had_them(tmp_path_factory, log, user):
    folder = tmp_path_factory.mktemp("erase")
    path = ingest(folder, "log", log)
    others = [[one for one in events if one[0] != user] for events in log]
    others = [events for events in others if events]
    with Store.open(path) as store:
        before = facts_of(store)
        if all(one[0] != user for events in log for one in events) or not others:
            with pytest.raises(UserError):
                erase_users(store, [user])
            assert facts_of(store) == before
            return
        (erased,) = erase_users(store, [user])
    gone = {(number, one) for number, events in enumerate(log) for one in events if one[0] == user}
    assert erased.interactions == len(gone)
    assert facts(path) == facts(ingest(folder, "other", others))
    assert {one.suffix for one in folder.iterdir()} == {".csv", ".duckdb", ".lock"}


def facts_of(store):
    return [store.rows("SELECT * FROM events"), fingerprint(store, 99)]


@given(log=LOGS, late=EVENTS)
@settings(max_examples=12, phases=PHASES)
def test_with_late_events_it_is_the_store_that_had_them_in_time(tmp_path_factory, log, late):
    folder = tmp_path_factory.mktemp("late")
    # Before the last period's last event, so that they are late.
    last = max(time for _, _, time in log[-1])
    late = [(user, item, min(4 * time, last - 1)) for user, item, time in late]
    path = ingest(folder, "late", [*log, late])
    begins = [min(time for _, _, time in events) for events in log[1:]]
    whole = [list(events) for events in log]
    for event in late:
        whole[int(np.searchsorted(begins, event[2], side="right"))].append(event)
    assert facts(path) == facts(ingest(folder, "other", whole))


@pytest.fixture
def two_periods(tmp_path):
    """A store of two periods, from second 10 to 40."""
    log: Log = [[("u", "a", 10), ("v", "b", 20)], [("u", "c", 30), ("w", "a", 40)]]
    return ingest(tmp_path, "log", log)


def late_file(folder, name, *rows):
    (folder / name).write_text("\n".join(["user,item,time", *rows, ""]))
    return folder / name


def test_late_files_are_refused_by_default(tmp_path, two_periods):
    before = facts(two_periods)
    older = late_file(tmp_path, "o.csv", "z,z,11")
    across = late_file(tmp_path, "a.csv", "z,z,35", "z,y,50")
    at_the_edge = late_file(tmp_path, "e.csv", "z,z,40", "z,y,50")
    with Store.open(two_periods) as store:
        with pytest.raises(UserError, match=r"o\.csv: .* older than period 2.*--late merge"):
            ingest_period(store, older)
        with pytest.raises(UserError, match=r"a\.csv: .* overlap period 2"):
            ingest_period(store, across)
    assert facts(two_periods) == before
    with Store.open(two_periods) as store:
        assert ingest_period(store, older, late="merge").periods == (1,)
        again = ingest_period(store, older)
        assert again.already_ingested
        assert again.periods == ()
        assert ingest_period(store, at_the_edge).periods == (3,)
        assert list_periods(store)[0].source == "log-1.csv and o.csv"


def test_a_file_of_newer_events_is_not_merged(tmp_path, two_periods):
    before = facts(two_periods)
    newer = late_file(tmp_path, "n.csv", "z,z,35", "z,y,50", "z,x,60")
    longer = late_file(tmp_path, "l.csv", "z,z,35", "z,y,50")
    words = r"n\.csv: 2 of its 3 .* newer than period 2"
    with Store.open(two_periods) as store, pytest.raises(UserError, match=words):
        ingest_period(store, newer, late="merge")
    assert facts(two_periods) == before
    with Store.open(two_periods) as store:
        assert ingest_period(store, longer, late="merge").periods == (2,)


def test_nothing_is_merged_among_events_without_times(tmp_path):
    plain = tmp_path / "plain.csv"
    plain.write_text("user,item\nu,a\n")
    log: Log = [[("u", "a", 10), ("v", "b", 20)]]
    with Store.open(ingest(tmp_path, "log", log)) as store:
        ingest_period(store, plain)
        with pytest.raises(UserError, match=r"late\.csv: cannot be merged.* period 2 .*without"):
            ingest_period(store, late_file(tmp_path, "late.csv", "z,z,11"), late="merge")


def test_equal_late_events_are_there_once(tmp_path, two_periods):
    with Store.open(two_periods) as store:
        late = late_file(tmp_path, "late.csv", "u,a,10", "w,a,10", "w,a,10")
        report = ingest_period(store, late, late="merge")
        assert (report.interactions, report.merged, report.periods) == (1, 2, (1,))
        assert store.rows("SELECT merged FROM ingests ORDER BY ingest") == [(0,), (0,), (2,)]
        assert list_periods(store)[0].interactions == 3


@given(log=LOGS, last=st.integers(0, 4))
@settings(max_examples=10, phases=PHASES)
def test_dropped_events_leave_the_ledger_and_the_others(tmp_path_factory, log, last):
    folder = tmp_path_factory.mktemp("drop")
    path = ingest(folder, "log", log)
    last = min(last, len(log) - 1)
    with Store.open(path) as store:
        number = len(log)
        whole = read_events(store, last + 1, number)
        users = store.rows("SELECT * FROM users ORDER BY user_index")
        print_before = fingerprint(store, number)
        known = count_known_items(store, number)
        counts = read_item_counts(store, number, known).tolist()
        for dropped in range(last + 1):
            drop_events(store, dropped)
        held = read_events(store, 1, number)
        assert fingerprint(store, number) == print_before
        assert first_retained_period(store) == last + 1
        assert all(map(np.array_equal, vars(held).values(), vars(whole).values()))
        assert store.rows("SELECT * FROM users ORDER BY user_index") == users
        assert read_item_counts(store, number, known).tolist() == counts
        assert [one.kept == 0 for one in list_periods(store)] == [
            period <= last for period in range(1, number + 1)
        ]
        assert {period for (period, *_) in store.rows("SELECT * FROM events")} == set(
            range(last + 1, number + 1)
        )
        # The next period goes behind the others all the same.
        late = folder / "next.csv"
        late.write_text("user,item,time\nnew,new,1000\nu,a,1000\n")
        assert ingest_period(store, late).periods == (number + 1,)
        assert len(read_events(store, number + 1, number + 1).times) == 2


@given(log=LOGS, stops=st.sets(st.integers(1, 4), min_size=1), most=st.integers(1, 4))
@settings(max_examples=6, phases=PHASES)
def test_histories_are_the_last_items_of_all_that_was_dropped(tmp_path_factory, log, stops, most):
    path = ingest(tmp_path_factory.mktemp("histories"), "log", log)
    stops = sorted({min(stop, len(log)) for stop in stops})
    everything = "SELECT * FROM events"
    with Store.open(path) as store:
        number, known = len(log), count_known_items(store, len(log))
        before = [fingerprint(store, number), read_item_counts(store, number, known).tolist()]
        wanted, taken = [], {}
        for event in reversed(store.rows(everything)):
            period, user, item, _ = event
            items = taken.setdefault(user, set())
            if period > stops[-1] or (item not in items and len(items) < most):
                wanted.append(event)
            if period <= stops[-1]:
                items.add(item)
        for stop in stops:
            drop_events(store, stop, most)
        assert store.rows(everything) == wanted[::-1]
        assert first_retained_period(store) == stops[-1] + 1
        assert [one.dropped for one in list_periods(store)] == [
            period <= stops[-1] for period in range(1, number + 1)
        ]
        after = [fingerprint(store, number), read_item_counts(store, number, known).tolist()]
        assert after == before
        user = wanted[-1][1]
        (erased,) = erase_users(store, [user])
        others = [event for event in wanted[::-1] if event[1] != user]
        assert store.rows(everything) == others
        assert erased.interactions == len(wanted) - len(others)
        drop_events(store, stops[-1], 0)
        held = [event for event in others if event[0] > stops[-1]]
        assert store.rows(everything) == held


def test_late_events_leave_histories_as_they_are(tmp_path):
    log: Log = [
        [("u", "a", 1), ("v", "b", 2)],
        [("u", "b", 11), ("u", "a", 12)],
        [("w", "a", 21), ("w", "b", 25)],
    ]
    with Store.open(ingest(tmp_path, "log", log)) as store:
        drop_events(store, 2, 1)
        late = late_file(tmp_path, "late.csv", "z,z,22")
        assert ingest_period(store, late, late="merge").periods == (3,)
        found = [row[:3] for row in store.rows("SELECT * FROM events")]
        assert found == [(1, "v", "b"), (2, "u", "a"), (3, "w", "a"), (3, "z", "z"), (3, "w", "b")]
        with pytest.raises(UserError, match="period 2, whose interactions are no longer held"):
            ingest_period(store, late_file(tmp_path, "older.csv", "z,z,12"), late="merge")


def test_a_user_of_a_dropped_period_leaves_the_vocabulary(tmp_path):
    log: Log = [
        [("u", "a", 1), ("v", "b", 2)],
        [("w", "c", 11), ("v", "a", 12)],
        [("w", "a", 21), ("x", "d", 22)],
    ]
    path = ingest(tmp_path, "log", log)
    with Store.open(path) as store:
        drop_events(store, 2)
        prints = [fingerprint(store, period) for period in (1, 2, 3)]
        (erased,) = erase_users(store, ["w"])
        assert (erased.first_period, erased.interactions) == (2, 1)
        after = [fingerprint(store, period) for period in (1, 2, 3)]
        assert after[0] == prints[0]
        assert after[1] != prints[1]
        assert user_ids(store, [0, 1, 2]) == ["u", "v", "x"]
        assert item_ids(store, [0, 1, 2, 3]) == ["a", "b", "c", "d"]
        counts = [(one.users, one.new_users, one.kept) for one in list_periods(store)]
        assert counts == [(2, 2, 0), (1, 0, 0), (1, 1, 1)]
        assert read_events(store, 1, 3).users.tolist() == [2]
        # The item of the erased event in period 2 stays in its sum; the event of period 3 goes.
        assert read_item_counts(store, 2, 4).tolist() == [2, 1, 1, 0]
        assert read_item_counts(store, 3, 4).tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_a_title_goes_with_the_last_user_of_its_item(tmp_path, dropped):
    """That includes items of dropped periods of which only this user's last ones are left."""
    log: Log = [
        [("u", "a", 1), ("v", "b", 2)],
        [("u", "c", 11), ("v", "a", 12), ("u", "d", 13)],
        [("v", "b", 21)],
    ]
    path = ingest(tmp_path, "log", log)
    with Store.open(path) as store:
        write_titles(store, {name: f"title of {name}" for name in ("a", "b", "c", "unmet")})
        if dropped:
            drop_events(store, dropped, 9)
        erase_users(store, ["u"])
        assert sorted(read_titles(store)) == ["a", "b", "unmet"]


def test_a_deleted_model_leaves_no_report(tmp_path):
    log: Log = [[("v", "b", 2)], [("u", "c", 11), ("v", "a", 12)]]
    path = ingest(tmp_path, "log", log)
    with Store.open(path) as store:
        with store.transaction():
            for period, key in ((1, "stays"), (2, "goes")):
                insert_fit(store, Fit(key, None, {"rows_given": 2}))
                insert_publication(store, Publication(period, key, {}, datetime(2026, 1, 1)))
        erase_users(store, ["u"])
        assert store.rows("SELECT fit_key FROM fits") == [("stays",)]


@pytest.mark.parametrize(("change", "what"), [(erase_users, ["v"]), (drop_events, 1)])
def test_what_a_killed_rewrite_left_goes_when_the_store_is_opened(
    tmp_path, monkeypatch, change, what
):
    log: Log = [[("u", "a", 1), ("v", "b", 2)], [("u", "c", 11), ("v", "a", 12)]]
    path = ingest(tmp_path, "log", log)
    with Store.open(path) as store, monkeypatch.context() as patched:
        patched.setattr("perennial.storage.log.rewrite.finish_rewriting", killed)
        left = (store.models_folder / "fit-old.safetensors", tmp_path / "log.duckdb.study" / "task")
        for file in left:
            file.parent.mkdir()
            file.touch()
        with pytest.raises(KeyboardInterrupt):
            change(store, what)
    Store.open(path, read_only=True).close()
    assert all(file.exists() for file in left)
    Store.open(path).close()
    names = {one.name for one in tmp_path.rglob("*") if one.suffix != ".csv"}
    assert names == {"log.duckdb", "log.duckdb.lock", "log.duckdb.models"}


def killed(_store):
    raise KeyboardInterrupt


KILLED_ERASING = """
import os, sys
from perennial.storage.log.rewrite import erase_users
from perennial.storage.store import Store

path, place = sys.argv[1:]
if place:
    setattr(Store, place, staticmethod(lambda *_: os._exit(9)))
with Store.open(path) as store:
    erase_users(store, ["u"])
"""


@pytest.mark.parametrize("place", ["replace_file", "_copy_for_readers", ""])
def test_a_killed_erasing_that_is_resumed_leaves_nothing_beside_the_store(tmp_path, place):
    """Killed before the new file is in place, after it, or not at all."""
    path = ingest(tmp_path, "log", [[("u", "a", 1), ("v", "b", 2)], [("u", "c", 11)]])
    arguments = [sys.executable, "-c", KILLED_ERASING, str(path), place]
    ended = subprocess.run(arguments, check=False)  # noqa: S603  # our own interpreter and text
    assert ended.returncode == (9 if place else 0)
    with Store.open(path) as store:
        if place == "replace_file":
            erase_users(store, ["u"])
        assert store.rows("SELECT count(*) FROM users") == [(1,)]
    names = {one.name for one in tmp_path.iterdir() if one.suffix != ".csv"}
    assert names - {"log.duckdb.models"} == {"log.duckdb", "log.duckdb.lock"}


def test_nothing_of_a_user_is_left_in_the_folder(tmp_path):
    sentinel = "sentinel-5f2b"
    log: Log = [[(sentinel, "a", 1), ("v", "b", 2)], [(sentinel, "c", 11), ("v", "a", 12)]]
    path = ingest(tmp_path, "log", log)
    for file in tmp_path.glob("*.csv"):
        file.unlink()
    with Store.open(path) as store:
        store.write_snapshot()
        erase_users(store, [sentinel])
        store.write_snapshot()
    for file in tmp_path.rglob("*"):
        assert sentinel.encode() not in file.read_bytes()
