"""A folder is period files, or one log where its parts are no periods."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import ITEMS, USERS, read_kind
from perennial.storage.reading.formats import read_file, read_times
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.loading import ingest_files, load_log
from perennial.stream.sources.files import open_path

LINES = "user_id,item_id\n1,2\n"
DAYS = (("day", ("2024-01-01", "2024-01-02")),)


@pytest.fixture
def fill(tmp_path):
    """Write files below a folder."""

    def fill(*names, content=LINES):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return fill


@pytest.fixture
def store():
    with Store.open(":memory:") as opened:
        yield opened


def names(folder):
    return [path.relative_to(folder).as_posix() for path in open_path(folder).paths]


@pytest.mark.parametrize(
    "names_in_order",
    [["combined_data_2.txt", "combined_data_10.txt"], ["mv_0000002.txt", "mv_0000010.txt"]],
)
def test_files_of_the_netflix_prize_are_one_log(fill, names_in_order):
    folder = fill(*names_in_order, "movie_titles.csv", "probe.txt", content="1:\n2,3,2005-01-01\n")
    assert names(folder) == names_in_order
    assert open_path(folder).cut == "equal-count"


def test_files_of_the_netflix_prize_are_ingested_together(store, fill):
    fill("mv_0000001.txt", content="1:\n7,3,2005-09-06\n8,5,2005-05-13\n")
    log = open_path(fill("mv_0000002.txt", content="2:\n7,3,2005-09-07\n8,5,2005-05-14\n"))
    (report,) = load_log(store, log, make_cut(log.cut, 2))
    assert (report.interactions, report.periods) == (4, (1, 2))
    assert [period.interactions for period in list_periods(store)] == [2, 2]


@pytest.mark.parametrize(
    ("given", "periods"),
    [(["a.json", "b.json.gz"], ["a.json", "b.json.gz"]), (["a.csv", "meta.json"], ["a.csv"])],
)
def test_json_files_are_periods_unless_there_are_tables(fill, given, periods):
    assert names(fill(*given)) == periods


class TestPartitions:
    def test_are_one_log_in_the_order_of_their_paths(self, fill):
        folder = fill(
            "day=2/part-10.csv", "day=2/part-9.csv", "day=10/h=1/part-0.csv", "day=2/_SUCCESS",
            "day=2/.part-9.csv.crc", "day=2/_temporary/part-1.csv", "day=2/.hidden.csv",
        )  # fmt: skip
        assert names(folder) == ["day=2/part-9.csv", "day=2/part-10.csv", "day=10/h=1/part-0.csv"]
        assert open_path(folder).cut == "equal-count"

    def test_without_a_log_are_refused(self, fill):
        with pytest.raises(UserError, match="has no log in it"):
            open_path(fill("day=2/_SUCCESS"))

    def test_are_cut_by_the_days_of_their_names(self, store, fill):
        folder = fill("date=2024-01-31/a.csv", "date=2024-02-01/a.csv")
        log = replace(open_path(folder), settings=IngestSettings(time_column="date"))
        (report,) = load_log(store, log, make_cut("day"))
        assert report.periods == (1, 2)

    @pytest.mark.parametrize("file", ["part.csv", "part.parquet"])
    def test_may_be_the_times(self, fill, file):
        path = fill("date=2024-01-31 12%3A00/part.csv") / "date=2024-01-31 12%3A00" / file
        pq.write_table(pa.table({"user_id": [1], "item_id": [2]}), path.with_suffix(".parquet"))
        settings = IngestSettings(time_column="date")
        raw = read_file(path, settings)
        assert raw.times.to_pylist() == ["2024-01-31 12:00"]
        assert (raw.layout.time, raw.remarks) == ("date", ())
        assert read_times(path, settings).to_pylist() == ["2024-01-31 12:00"]

    @pytest.mark.parametrize("file", ["part.csv", "part.parquet", "part.jsonl"])
    def test_lose_to_columns_of_the_file(self, fill, file):
        folder = fill("date=1999-01-01/part.csv") / "date=1999-01-01"
        table = pa.table({"user_id": [1], "item_id": [2], "date": ["2024-01-31"]})
        pq.write_table(table, folder / "part.parquet")
        (folder / "part.csv").write_text("user_id,item_id,date\n1,2,2024-01-31\n")
        (folder / "part.jsonl").write_text('{"user_id":1,"item_id":2,"date":"2024-01-31"}\n')
        settings = IngestSettings(time_column="date")
        assert read_file(folder / file, settings).times.to_pylist() == ["2024-01-31"]
        assert read_times(folder / file, settings).to_pylist() == ["2024-01-31"]

    @pytest.mark.parametrize("file", ["part.csv", "part.parquet", "part.jsonl"])
    @pytest.mark.parametrize("what", ["user", "item"])
    @pytest.mark.parametrize("value", ["17", "a b"])
    def test_may_be_users_or_items(self, store, fill, file, what, value):
        folder = fill(f"shop={value}/part.csv") / f"shop={value}"
        other = {"user": "item", "item": "user"}[what]
        pq.write_table(pa.table({f"{other}_id": [1, 2]}), folder / "part.parquet")
        (folder / "part.csv").write_text(f"{other}_id\n1\n2\n")
        (folder / "part.jsonl").write_text(f'{{"{other}_id": 1}}\n{{"{other}_id": 2}}\n')
        settings = IngestSettings(**{f"{what}_column": "shop"})
        report = ingest_period(store, folder / file, settings)
        assert (report.interactions, getattr(report.layouts[0], what)) == (2, "shop")
        assert store.rows(f"SELECT id FROM {what}s") == [(value,)]
        assert read_kind(store, {"user": USERS, "item": ITEMS}[what]).kind == (
            "integer" if value == "17" else "string"
        )

    def test_without_a_value_are_missing(self, store, fill):
        path = (
            fill("shop=__HIVE_DEFAULT_PARTITION__/a.csv") / "shop=__HIVE_DEFAULT_PARTITION__/a.csv"
        )
        with pytest.raises(UserError, match="1 × null or empty user"):
            ingest_period(store, path, IngestSettings(user_column="shop"))

    def test_are_not_users_and_items(self, fill):
        path = fill("u=1/i=2/a.csv") / "u=1/i=2/a.csv"
        with pytest.raises(UserError, match="the file itself must have users or items"):
            read_file(path, IngestSettings(user_column="u", item_column="i"))

    @pytest.mark.parametrize("content", [LINES, "1,2\n"])
    @pytest.mark.parametrize("folder", ["date=20240131", "night=2024-01-31", "night=7"])
    def test_that_look_like_times_are_told(self, fill, content, folder):
        path = fill(f"{folder}/a.csv", content=content) / folder / "a.csv"
        (remark,) = read_file(path, IngestSettings()).remarks
        key = "" if folder == "night=7" else folder.split("=")[0]
        assert (f"does column '{key}' hold the times? name it with" in remark) is bool(key)

    def test_count_only_next_above_the_file(self, fill):
        path = fill("date=1999-01-01/logs/part.csv") / "date=1999-01-01/logs/part.csv"
        with pytest.raises(UserError, match="no column 'date'"):
            read_file(path, IngestSettings(time_column="date"))

    @pytest.mark.parametrize("content", [LINES, "1,2,881250949\n"])
    @pytest.mark.parametrize(("values", "rows"), [(("de", "fr"), 1), (("it",), 0)])
    def test_may_be_conditions(self, fill, content, values, rows):
        path = fill("land=de/part.csv", content=content) / "land=de/part.csv"
        raw = read_file(path, IngestSettings(where=(("land", values),)))
        assert (len(raw.users), raw.layout.filtered) == (rows, 1 - rows)

    @pytest.mark.parametrize("cut", [make_cut("equal-count", 2), make_cut("files")])
    @pytest.mark.parametrize("content", ["user_id,item_id\n1,2\n", "user_id,item_id\n1,2\n1,3\n"])
    @pytest.mark.parametrize("choice", [{}, {"time_column": "day"}, {"where": DAYS}])
    def test_may_hold_equal_files(self, store, fill, cut, content, choice):
        log = open_path(fill("day=2024-01-01/a.csv", "day=2024-01-02/a.csv", content=content))
        log = replace(log, settings=IngestSettings(**choice))
        reports = load_log(store, log, cut)
        assert sum(report.lines for report in reports) == 2 * (content.count("\n") - 1)
        assert len(reports) == (2 if cut.by_file else 1)
        assert load_log(store, log, cut) == ()
        assert all(report.already_ingested for report in ingest_files(store, log, cut))

    def test_are_known_again_elsewhere(self, store, fill):
        folder = fill("a.csv", "land=de/a.csv")
        ingest_period(store, folder / "a.csv")
        assert ingest_period(store, folder / "land=de/a.csv").already_ingested

    def test_hold_no_file_twice(self, store, fill):
        log = open_path(fill("land=de/a.csv", "land=fr/a.csv", "land=fr/b.csv"))
        with pytest.raises(UserError, match="name it once"):
            load_log(store, log, make_cut("equal-count", 2))

    @pytest.mark.parametrize("columns", ["user_id,item_id,rating", "user_id,item_id,rating,ts"])
    def test_as_times_leave_the_remark_on_ratings(self, fill, columns):
        path = fill("date=2024-01-31/part.csv") / "date=2024-01-31" / "part.csv"
        row = "1,2,5,1400000000" if columns.endswith(",ts") else "1,2,5"
        path.write_text(f"{columns}\n{row}\n")
        (remark,) = read_file(path, IngestSettings(time_column="date")).remarks
        assert remark.startswith("column 'rating' is ignored")
