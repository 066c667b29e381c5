"""A store holds one log, cut one way, or is refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import item_ids
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.loading import ingest_files, load_log
from perennial.stream.sources.base import LogFiles


def write_files(folder, *numbers):
    """A file for each number, ten minutes of two users each."""
    paths = []
    for number in numbers:
        path = folder / f"part{number}.csv"
        lines = [f"{row % 2},{row % 3},{600 * number + 60 * row}" for row in range(10)]
        path.write_text("\n".join(["user,item,timestamp", *lines]))
        paths.append(path)
    return tuple(paths)


def log_of(*paths, **settings):
    return LogFiles("parts", paths, IngestSettings(**settings))


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.duckdb") as opened:
        yield opened


@pytest.mark.parametrize("cut", [make_cut("equal-count", 4), make_cut("files")])
def test_the_same_again_does_nothing(store, tmp_path, cut):
    log = log_of(*write_files(tmp_path, 1, 2, 3))
    assert load_log(store, log, cut)
    before = list_periods(store)
    assert load_log(store, log, cut) == ()
    assert list_periods(store) == before


def test_files_that_are_missing_are_added_but_not_before_the_loaded_ones(store, tmp_path):
    first, *later = write_files(tmp_path, 0, 1, 2, 3)
    log = log_of(*later)
    ingest_period(store, log.paths[0], log.settings)
    reports = load_log(store, log, make_cut("files"))
    assert [report.periods for report in reports] == [(2,), (3,)]
    with pytest.raises(UserError, match="in another way"):
        load_log(store, log_of(first, *later), make_cut("files"))
    assert len(list_periods(store)) == 3


@pytest.mark.parametrize(
    ("held", "wanted", "num_files", "settings"),
    [
        (make_cut("equal-count", 4), make_cut("equal-count", 5), 3, {}),
        (make_cut("equal-count", 3), make_cut("files"), 3, {}),
        (make_cut("files"), make_cut("equal-count", 4), 3, {}),
        (make_cut("equal-count", 1), make_cut("files"), 3, {}),
        (make_cut("equal-count", 2), make_cut("files"), 1, {}),
        (
            *(make_cut("equal-count", 2), make_cut("files"), 2),
            {"item_column": "user", "user_column": "item"},
        ),
    ],
)
def test_another_cut_or_other_columns_are_refused(
    store, tmp_path, held, wanted, num_files, settings
):
    paths = write_files(tmp_path, *range(1, num_files + 1))
    load_log(store, log_of(*paths), held)
    before = list_periods(store)
    with pytest.raises(UserError, match="in another way"):
        load_log(store, log_of(*paths, **settings), wanted)
    assert list_periods(store) == before


@pytest.mark.parametrize("cut", [make_cut("equal-count", 2), make_cut("files")])
def test_another_log_is_refused(store, tmp_path, cut):
    paths = write_files(tmp_path, 1, 2, 3)
    load_log(store, log_of(*paths[:2]), cut)
    before = list_periods(store)
    with pytest.raises(UserError, match="another log"):
        load_log(store, log_of(*paths[1:]), cut)
    assert list_periods(store) == before


def test_a_log_that_has_grown_in_the_store_is_refused(store, tmp_path):
    paths = write_files(tmp_path, 1, 2, 3)
    load_log(store, log_of(*paths[:2]), make_cut("equal-count", 2))
    ingest_period(store, paths[2], IngestSettings())
    with pytest.raises(UserError, match="holds more than 'parts'"):
        load_log(store, log_of(*paths[:2]), make_cut("equal-count", 2))


START = 1_600_000_000
DAY = 86_400


def timed(folder, name, items, first_day):
    path = folder / f"{name}.parquet"
    times = [START + DAY * (first_day + place) for place in range(len(items))]
    columns = {"user_id": [1] * len(items), "item_id": items, "timestamp": times}
    pq.write_table(pa.table(columns), path)
    return path


def untimed(folder, number, items):
    path = folder / f"period_{number}.txt"
    path.write_text("".join(f"1 {item}\n" for item in items))
    return path


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


def test_files_without_times_are_named(store, tmp_path):
    log = log_of(timed(tmp_path, "a", [1], 0), untimed(tmp_path, 0, [2]))
    with pytest.raises(UserError, match=r"period_0.txt: no times in it, but in other files"):
        ingest_files(store, log, make_cut("files"))
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"user_id": [1], "item_id": [1], "timestamp": [True]}), path)
    with pytest.raises(UserError, match=r"bad.parquet: time column: type bool"):
        ingest_files(store, log_of(path, log.paths[0]), make_cut("files"))
    assert list_periods(store) == ()


def test_an_interrupted_load_resumes_with_the_next_file(store, tmp_path):
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


@pytest.mark.parametrize("cut", [make_cut("equal-count", 4), make_cut("day")])
def test_other_cuts_take_all_files_as_one_log(store, tmp_path, cut):
    log = log_of(timed(tmp_path, "a", [3, 4], 2), timed(tmp_path, "b", [1, 2], 0))
    (report,) = ingest_files(store, log, cut)
    assert report.periods == (1, 2, 3, 4)
    assert items_by_period(store) == [[1], [2], [3], [4]]


def test_a_log_without_a_clock_is_cut_by_its_lines_alone(store, tmp_path):
    log = log_of(untimed(tmp_path, 0, [1, 2, 3, 4]))
    for name in ("day", "week", "month"):
        words = f"no times in it, so it cannot be cut by the {name}; "
        with pytest.raises(UserError, match=words):
            ingest_files(store, log, make_cut(name))
    assert list_periods(store) == ()
    ingest_files(store, log, make_cut("equal-count", 2))
    assert items_by_period(store) == [[1, 2], [3, 4]]
