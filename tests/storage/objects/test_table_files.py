"""The suffix of a file names its format, and what was written is read back."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.errors import UserError
from perennial.storage.objects.table_files import TABLE_SUFFIXES, check_suffix, write_table

TABLE = pa.table(
    {
        "user_id": ["007", 'a "b", c', "line\nbreak"],
        "item_id": pa.array([1, 2**53 + 1, -3], pa.int64()),
        "big": pa.array([2**70, 1, -(2**70)], pa.decimal128(38, 0)),
        "score": pa.array([0.5, -1.25, 3.0], pa.float32()),
        "title": ["Süß", None, "x\ty"],
    }
)


def read_text(path, delimiter):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=delimiter))


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.tsv", "\t"), ("T.CSV", ",")])
def test_separated_text(tmp_path, name, delimiter):
    write_table(TABLE, tmp_path / name)
    header, *rows = read_text(tmp_path / name, delimiter)
    assert header == TABLE.column_names
    expected = [[str(value or "") for value in row.values()] for row in TABLE.to_pylist()]
    assert [[*row[:3], row[4]] for row in rows] == [[*row[:3], row[4]] for row in expected]
    assert [float(row[3]) for row in rows] == TABLE["score"].to_pylist()


def test_json_lines(tmp_path):
    write_table(TABLE, tmp_path / "t.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text("utf-8").splitlines()]
    assert [row["user_id"] for row in rows] == TABLE["user_id"].to_pylist()
    # JavaScript would round the second.
    assert [row["item_id"] for row in rows] == [1, str(2**53 + 1), -3]
    assert [row["big"] for row in rows] == [str(2**70), "1", str(-(2**70))]
    assert [row["title"] for row in rows] == ["Süß", None, "x\ty"]


def test_parquet(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").equals(TABLE)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"t{suffix}"
    write_table(TABLE, path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perennial.storage.atomic.commit", fail)
    with pytest.raises(UserError, match="No space left on device"):
        write_table(TABLE.slice(0, 1), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.json", "t.csv.gz", ".parquet"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"choose from \.parquet, \.csv, \.tsv, \.jsonl"):
        check_suffix(tmp_path / name, TABLE_SUFFIXES)
    with pytest.raises(UserError, match="suffix"):
        write_table(TABLE, tmp_path / name)
    assert not list(tmp_path.iterdir())
