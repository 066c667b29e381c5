"""Exported periods come back as they were, and nothing else is written over."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.log import export
from perennial.storage.log.export import ExportedPeriod, export_periods
from perennial.storage.log.ingest import ingest_log, ingest_period
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import fingerprint, list_periods
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.storage.store import Store

NAMES = ["user_id", "item_id", "timestamp"]
HEADER = "user_id,item_id,timestamp\n"
TWO_PERIODS = ("u,a,1\nv,b,2\nu,b,2\n", "w,a,12\nu,c,11\n")
SECOND = 1_000_000


def hold(store, folder, periods):
    for number, rows in enumerate(periods):
        path = folder / f"{number}.csv"
        path.write_text(HEADER + rows)
        ingest_period(store, path)


def ingest_again(written):
    """A store in memory with exported files, each a period."""
    again = Store.open(":memory:")
    for one in sorted(written, key=lambda one: one.path.name):
        report = ingest_period(again, one.path)
        assert not report.already_ingested
        assert (report.interactions, report.merged, report.rejected) == (one.interactions, 0, 0)
    return again


def last_fingerprint(store):
    return fingerprint(store, len(list_periods(store)))


def events(store):
    """Users, items and periods in log order with their own names, and times."""
    held = read_events(store, 1, len(list_periods(store)))
    users, items = user_ids(store, held.users), item_ids(store, held.items)
    return users, items, held.periods.tolist(), held.times.tolist()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "export"


# Integers, integers that no int64 holds, text that looks like them, and text.
IDENTIFIERS = (
    (pa.int64(), st.integers(-3, 12)),
    (pa.uint64(), st.integers(2**63 - 2, 2**63 + 2)),
    (pa.string(), st.sampled_from(["7", "007", "+7", " 7", "x"])),
    (pa.string(), st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)),
)
# Few and close, so that many events are at the same time; or far apart and to the µs.
SPANS = (4, 1_000_000_000_000_000)


@st.composite
def logs(draw):
    """Up to three files of one kind of identifiers, each beginning where the last one may end."""
    kinds, values = zip(*(draw(st.sampled_from(IDENTIFIERS)) for _ in range(2)), strict=True)
    kinds = (*kinds, pa.timestamp("us"))
    span = draw(st.sampled_from(SPANS))
    tables = []
    for number in range(draw(st.integers(1, 3))):
        times = st.integers(span * number, span * (number + 1))
        rows = draw(st.lists(st.tuples(*values, times), min_size=1, max_size=25))
        tables.append(pa.table(list(map(pa.array, zip(*rows, strict=True), kinds)), NAMES))
    return tables


@settings(max_examples=30)
@given(logs(), st.integers(1, 4))
def test_an_exported_log_has_the_same_fingerprint(tmp_path_factory, files, chunk):
    folder = tmp_path_factory.mktemp("round")
    paths = [folder / f"{number}.parquet" for number in range(len(files))]
    for path, table in zip(paths, files, strict=True):
        # Files of the same content are one to ingestion.
        pq.write_table(table.replace_schema_metadata({"name": path.name}), path)
    with pytest.MonkeyPatch.context() as patch, Store.open(":memory:") as store:
        patch.setattr(export, "CHUNK_ROWS", chunk)
        ingest_log(store, paths[:1], lambda times: np.unique(times[len(times) // 2 :][:1]))
        for path in paths[1:]:
            ingest_period(store, path)
        written = export_periods(store, folder / "export")
        with ingest_again(written) as again:
            assert last_fingerprint(again) == last_fingerprint(store)
            assert [list(map(str, part)) for part in events(again)[:2]] == [
                list(map(str, part)) for part in events(store)[:2]
            ]
            repeated = export_periods(again, folder / "again")
        for one, other in zip(written, repeated, strict=True):
            assert one.path.read_bytes() == other.path.read_bytes()


def test_columns_have_the_types_of_the_vocabularies(store, tmp_path, folder):
    hold(store, tmp_path, ("5,a,1.000001\n", "6,7,2\n"))
    names = ["period-0001.parquet", "period-0002.parquet"]
    paths = [one.path for one in export_periods(store, folder)]
    assert paths == [folder / name for name in names]
    for path in paths:
        types = [pa.int64(), pa.string(), pa.timestamp("us", "UTC")]
        assert pq.read_schema(path).types == types
    rows = pq.read_table(paths[0])
    assert rows["timestamp"].cast(pa.int64()).to_pylist() == [1_000_001]
    assert rows["user_id"].to_pylist() == [5]


@pytest.mark.parametrize(
    "periods",
    [
        # Digits that no integer holds stay text, and equal periods two.
        ("5,1,1\n", "99999999999999999999,2,2\n"),
        ("u,a,2\nv,b,2\n", "v,b,2\nu,a,2\n"),
    ],
)
def test_special_logs_come_back(store, tmp_path, folder, periods):
    hold(store, tmp_path, periods)
    with ingest_again(export_periods(store, folder)) as again:
        assert last_fingerprint(again) == last_fingerprint(store)
        for ids in (user_ids, item_ids):
            assert [*map(str, ids(again, [0, 1]))] == [*map(str, ids(store, [0, 1]))]


class TestWithoutAClock:
    def test_rows_keep_their_order(self, store, tmp_path, folder):
        (tmp_path / "period_1.txt").write_text("9 3\n2 1\n9 3\n1 1\n")
        ingest_period(store, tmp_path / "period_1.txt")
        (written,) = export_periods(store, folder)
        assert pq.read_schema(written.path).names == ["user_id", "item_id"]
        assert pq.read_table(written.path)["user_id"].to_pylist() == [9, 2, 9, 1]
        with ingest_again([written]) as again:
            assert last_fingerprint(again) == last_fingerprint(store)

    def test_lines_count_from_one_anew(self, store, tmp_path, folder):
        path = tmp_path / "log.csv"
        path.write_text("user_id,item_id\n9,3\n2,1\n9,4\n1,1\n")
        ingest_log(store, [path], lambda times: times[2:3])
        with ingest_again(export_periods(store, folder)) as again:
            assert events(again)[:3] == events(store)[:3]
            assert (events(store)[3], events(again)[3]) == ([2, 3, 4, 5], [1, 2, 1, 2])


class TestChoosing:
    def test_periods_that_are_not_there(self, store, tmp_path, folder):
        with pytest.raises(UserError, match="no period in it yet"):
            export_periods(store, folder)
        hold(store, tmp_path, TWO_PERIODS)
        with pytest.raises(UserError, match="there is no period 3; the last is 2"):
            export_periods(store, folder, [1, 3])
        assert not folder.exists()

    def test_some_periods_and_events_that_were_dropped(self, store, tmp_path, folder):
        hold(store, tmp_path, TWO_PERIODS)
        second = ExportedPeriod(2, folder / "period-0002.parquet", 2)
        assert export_periods(store, folder, [2]) == (second,)
        assert [path.name for path in folder.iterdir()] == ["period-0002.parquet"]
        store.rows("DELETE FROM interactions WHERE rowid < 3")
        store.rows("UPDATE periods SET kept = 0, dropped = TRUE WHERE period = 1")
        words = "events of period 1 are no longer in the store; name others with --period, from 2"
        with pytest.raises(UserError, match=words):
            export_periods(store, folder)
        assert export_periods(store, folder, [2]) == (second,)

    def test_names_sort_past_the_fourth_digit(self, store, tmp_path, folder):
        hold(store, tmp_path, TWO_PERIODS)
        store.rows("UPDATE periods SET period = 10000 WHERE period = 2")
        names = [one.path.name for one in export_periods(store, folder)]
        assert names == ["period-00001.parquet", "period-10000.parquet"]


class TestTheFolder:
    def test_an_export_replaces_an_export(self, store, tmp_path, folder):
        hold(store, tmp_path, TWO_PERIODS)
        with Store.open(":memory:") as other:
            hold(other, tmp_path, ("x,y,1\n", "x,y,2\n"))
            export_periods(other, folder)
        (folder / "notes.txt").write_text("mine")
        export_periods(store, folder)
        assert pq.read_table(folder / "period-0001.parquet").num_rows == 3
        assert {path.name for path in folder.iterdir()} == {
            *("notes.txt", "period-0001.parquet", "period-0002.parquet")
        }

    @pytest.mark.parametrize("content", [b"mine", None])
    def test_other_files_stay(self, store, tmp_path, folder, content):
        hold(store, tmp_path, TWO_PERIODS)
        folder.mkdir()
        mine = folder / "period-0002.parquet"
        if content is None:
            pq.write_table(pa.table({"a": [1]}), mine)
        else:
            mine.write_bytes(content)
        before = mine.read_bytes()
        with pytest.raises(UserError, match=r"period-0002\.parquet: is there and no export"):
            export_periods(store, folder)
        assert [path.read_bytes() for path in folder.iterdir()] == [before]
        export_periods(store, folder, force=True)
        assert pq.read_table(mine).num_rows == 2

    def test_a_longer_export_is_not_mixed_with(self, store, tmp_path, folder):
        hold(store, tmp_path, TWO_PERIODS)
        export_periods(store, folder)
        with Store.open(":memory:") as shorter:
            hold(shorter, tmp_path, ("x,y,1\n",))
            with pytest.raises(UserError, match=r"period-0002\.parquet: is there and none of"):
                export_periods(shorter, folder)
            export_periods(shorter, folder, [1])
            export_periods(shorter, folder, force=True)
        assert [path.name for path in folder.iterdir()] == ["period-0001.parquet"]

    def test_a_folder_that_cannot_be_written_is_named(self, store, tmp_path, folder):
        hold(store, tmp_path, TWO_PERIODS)
        folder.write_text("a file")
        with pytest.raises(UserError, match="export: is a file"):
            export_periods(store, folder)
        with pytest.raises(UserError, match="export/deeper: cannot be written"):
            export_periods(store, folder / "deeper")

    def test_a_part_of_a_file_never_shows(self, store, tmp_path, folder, monkeypatch):
        hold(store, tmp_path, TWO_PERIODS)
        export_periods(store, folder)
        before = {path: path.read_bytes() for path in folder.iterdir()}

        class FullDisk(pq.ParquetWriter):
            def write_table(self, *_):
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(pq, "ParquetWriter", FullDisk)
        with pytest.raises(UserError, match=r"cannot be written .*No space left"):
            export_periods(store, folder)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["ml-100k.parquet", "ml-1m.parquet"])
def test_exported_movielens_has_the_same_fingerprint(shared_data, store, folder, name):
    def cut(times):
        return np.unique(times[np.arange(1, 17) * len(times) // 17])

    ingest_log(store, [shared_data / name], cut)
    with ingest_again(export_periods(store, folder)) as again:
        assert len(list_periods(again)) == 17
        assert last_fingerprint(again) == last_fingerprint(store)
