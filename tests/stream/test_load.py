import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import IngestSettings
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import item_ids
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.loading import ingest_files
from perennial.stream.sources.base import LogFiles

START = 1_600_000_000
DAY = 86_400


@pytest.fixture
def store():
    with Store.open(":memory:") as opened:
        yield opened


def timed(folder, name, items, first_day):
    """A file with one event a day."""
    path = folder / f"{name}.parquet"
    times = [START + DAY * (first_day + place) for place in range(len(items))]
    columns = {"user_id": [1] * len(items), "item_id": items, "timestamp": times}
    pq.write_table(pa.table(columns), path)
    return path


def untimed(folder, number, items):
    path = folder / f"period_{number}.txt"
    path.write_text("".join(f"1 {item}\n" for item in items))
    return path


def log_of(*paths):
    return LogFiles("log", paths, IngestSettings())


def items_by_period(store):
    return [
        item_ids(store, read_events(store, summary.period, summary.period).items)
        for summary in list_periods(store)
    ]


def test_each_file_becomes_a_period_in_the_order_of_time(store, tmp_path):
    paths = (
        timed(tmp_path, "a", [30, 31], 20),
        timed(tmp_path, "b", [10], 0),
        timed(tmp_path, "c", [20, 21], 10),
    )
    calls = []
    reports = ingest_files(
        store, log_of(*paths), make_cut("files"), progress=lambda *call: calls.append(call)
    )
    assert items_by_period(store) == [[10], [20, 21], [30, 31]]
    assert [report.paths[0].name for report in reports] == ["b.parquet", "c.parquet", "a.parquet"]
    assert ("ingesting a.parquet", 2, 3) in calls


def test_files_without_times_keep_the_order_they_come_in(store, tmp_path):
    paths = (untimed(tmp_path, 2, [9]), untimed(tmp_path, 10, [5, 6]))
    ingest_files(store, log_of(*paths), make_cut("files"))
    assert items_by_period(store) == [[9], [5, 6]]


def test_files_with_and_without_times_do_not_make_a_log(store, tmp_path):
    log = log_of(timed(tmp_path, "a", [1], 0), untimed(tmp_path, 0, [2]))
    with pytest.raises(UserError, match=r"period_0.txt: no times in it, but in other files"):
        ingest_files(store, log, make_cut("files"))
    assert list_periods(store) == ()


def test_what_was_interrupted_goes_on_with_the_next_file(store, tmp_path):
    paths = [untimed(tmp_path, number, [number, number + 5]) for number in range(3)]

    def interrupt(what, done, total):
        if what == "ingesting period_1.txt":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_files(store, log_of(*paths), make_cut("files"), progress=interrupt)
    assert items_by_period(store) == [[0, 5]]
    reports = ingest_files(store, log_of(*paths), make_cut("files"))
    assert [report.already_ingested for report in reports] == [True, False, False]
    assert items_by_period(store) == [[0, 5], [1, 6], [2, 7]]


def test_other_cuts_take_all_files_as_one_log(store, tmp_path):
    log = log_of(timed(tmp_path, "a", [3, 4], 2), timed(tmp_path, "b", [1, 2], 0))
    (report,) = ingest_files(store, log, make_cut("equal-count", 4))
    assert report.periods == (1, 2, 3, 4)
    assert items_by_period(store) == [[1], [2], [3], [4]]


def test_a_log_is_cut_by_the_calendar(store, tmp_path):
    log = log_of(timed(tmp_path, "a", [1, 2, 3], 0))
    ingest_files(store, log, make_cut("day"))
    assert items_by_period(store) == [[1], [2], [3]]


@pytest.mark.parametrize("name", ["day", "week", "month"])
def test_a_log_without_a_clock_is_not_cut_by_the_calendar(store, tmp_path, name):
    log = log_of(untimed(tmp_path, 0, [1, 2]))
    with pytest.raises(UserError, match=f"no times in it, so it cannot be cut by the {name}; "):
        ingest_files(store, log, make_cut(name))
    assert list_periods(store) == ()


def test_a_log_without_a_clock_can_be_cut_by_its_lines(store, tmp_path):
    ingest_files(store, log_of(untimed(tmp_path, 0, [1, 2, 3, 4])), make_cut("equal-count", 2))
    assert items_by_period(store) == [[1, 2], [3, 4]]


def test_a_time_column_that_holds_none_is_named_with_its_file(store, tmp_path):
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"user_id": [1], "item_id": [1], "timestamp": [True]}), path)
    log = log_of(path, timed(tmp_path, "a", [1], 0))
    with pytest.raises(UserError, match=r"bad.parquet: a column of type bool"):
        ingest_files(store, log, make_cut("files"))
