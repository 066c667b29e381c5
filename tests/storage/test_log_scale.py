"""The benchmark of a large log, on a small one."""

import hashlib

import duckdb
import pyarrow.parquet as pq
import pytest

from benchmarks.log_scale import (
    MEASURED,
    NUM_PERIODS,
    Measured,
    Shape,
    copy,
    describe_growth,
    draw,
    ingest,
    make_files,
    run_fresh,
)
from storage.periods import list_periods
from storage.store import Store

SHAPE = Shape.of(5000)


@pytest.mark.parametrize("as_texts", [False, True])
def test_seventeen_seeded_files_become_seventeen_periods(tmp_path, as_texts):
    files = make_files(tmp_path / "a", SHAPE, as_texts=as_texts)
    again = make_files(tmp_path / "b", SHAPE, as_texts=as_texts)
    hashes = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    assert hashes == [hashlib.sha256(file.read_bytes()).digest() for file in again]
    assert len(set(hashes)) == NUM_PERIODS
    sizes = [pq.read_metadata(file).num_rows for file in files]
    assert sum(sizes) == SHAPE.rows
    assert sizes == [SHAPE.period_rows(number) for number in range(1, NUM_PERIODS + 1)]
    assert ingest(files[::-1], tmp_path / "ours.duckdb")["seconds"] > 0
    with Store.open(tmp_path / "ours.duckdb", read_only=True) as store:
        periods = list_periods(store)
    assert [one.source for one in periods] == [file.name for file in files]
    assert 0.99 * SHAPE.rows < sum(one.interactions for one in periods) <= SHAPE.rows
    assert copy(files, tmp_path / "theirs.duckdb")["seconds"] > 0
    with duckdb.connect(tmp_path / "theirs.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchall() == [(SHAPE.rows,)]


def test_a_fresh_process_reads_one_period(tmp_path):
    files = make_files(tmp_path / "a", SHAPE, as_texts=False)
    ingest(files, tmp_path / "s.duckdb")
    found = run_fresh("read", tmp_path / "s.duckdb", MEASURED)
    assert 0 < found["users"] <= found["cells"] <= SHAPE.period_rows(MEASURED)
    assert found["peak"] > 0


def test_growth_is_told_and_drawn(tmp_path):
    assert describe_growth([1, 10, 100], [1, 1, 10]) == "rows^1.00 at last, rows^0.50 over all"
    found = [Measured(n, n, {"seconds": n / 10}, {"seconds": n / 20}) for n in (10, 100, 1000)]
    draw(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
