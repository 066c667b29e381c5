"""Logs from Python: every kind of source, and mistakes."""

import pyarrow as pa
import pyarrow.csv
import pytest

import perennial as pn
from perennial.replay.whole_log import hold_whole
from perennial.storage.base import ignore_progress
from perennial.storage.log.periods import fingerprint, list_periods


class Frame:
    """A table of another library."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def to_pandas(table: pa.Table):
    pytest.importorskip("pandas")
    return table.to_pandas()


def to_views(table: pa.Table) -> Frame:
    """The type of text that polars has."""
    users = table["user_id"].cast(pa.string_view())
    return Frame(table.set_column(0, "user_id", users))


def to_categories(table: pa.Table) -> Frame:
    return Frame(table.set_column(0, "user_id", table["user_id"].dictionary_encode()))


def read(log) -> tuple[str, int]:
    with log.open_files(ignore_progress) as files, hold_whole(files, log.reading) as store:
        (period,) = list_periods(store)
        return fingerprint(store, 1), period.interactions


@pytest.mark.parametrize(
    "make",
    [Frame, to_pandas, to_views, to_categories, lambda table: table, pa.Table.to_reader],
    ids=["another library", "pandas", "text views", "categories", "Arrow", "a reader"],
)
def test_a_table_gives_the_log_of_its_file(csv, make):
    table = pyarrow.csv.read_csv(csv)
    assert read(pn.open_log(make(table))) == read(pn.open_log(csv))


def test_a_log_is_read_more_than_once(csv):
    log = pn.open_log(pyarrow.csv.read_csv(csv))
    assert read(log) == read(log)


def test_conditions_count_in_files_and_tables(tmp_path):
    path = tmp_path / "rated.csv"
    rows = [f"u{n},{n % 7},{n},{n % 5 + 1},{'ab'[n % 2]}\n" for n in range(60)]
    path.write_text("user,item,time,rating,kind\n" + "".join(rows))
    settings = {"min_rating": 4, "where": {"kind": "a", "rating": ["4", "5"]}}
    (_, count), (_, in_table) = (
        read(pn.open_log(source, **settings)) for source in (path, pyarrow.csv.read_csv(path))
    )
    assert count == in_table == sum(n % 5 >= 3 and n % 2 == 0 for n in range(60))


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        ("nowhere.csv", {}, "neither a file, a folder nor a known data set"),
        ([1, 2], {}, "a list is no log"),
        (pa.table({"user": [1]}), {"min_ratng": 4}, "no setting 'min_ratng'; it has encoding"),
        (pa.table({"user": [1]}), {"min_rating": "four"}, "setting 'min_rating'"),
        (pa.table({"user": [1]}), {}, "the table: no item column among user"),
        (pa.table({"user": pa.array([(1, 1, 1)], pa.month_day_nano_interval())}), {}, "Parquet"),
    ],
)
def test_mistakes_are_one_line_without_temporary_paths(source, settings, words):
    with pytest.raises(pn.UserError) as error:
        read(pn.open_log(source, **settings))
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert "perennial-table" not in str(error.value)
