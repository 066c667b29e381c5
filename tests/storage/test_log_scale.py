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
from perennial.storage.log.periods import list_periods
from perennial.storage.store import Store

SHAPE = Shape.of(5000)


@pytest.fixture(scope="module", params=["integers", "texts"])
def made(request, tmp_path_factory):
    """The files, and a store of them that they were given to backwards."""
    folder = tmp_path_factory.mktemp(request.param)
    files = make_files(folder / "files", SHAPE, as_texts=request.param == "texts")
    assert ingest(files[::-1], folder / "ours.duckdb")["seconds"] > 0
    return files, folder / "ours.duckdb"


def test_the_seed_decides_each_file(made, tmp_path):
    files, _ = made
    as_texts = pq.read_schema(files[0]).field("user_id").type == "string"
    again = make_files(tmp_path / "again", SHAPE, as_texts=as_texts)
    hashes = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    assert hashes == [hashlib.sha256(file.read_bytes()).digest() for file in again]
    assert len(set(hashes)) == NUM_PERIODS
    sizes = [pq.read_metadata(file).num_rows for file in files]
    assert sizes == [SHAPE.period_rows(number) for number in range(1, NUM_PERIODS + 1)]
    assert sum(sizes) == SHAPE.rows


def test_each_file_is_a_period(made):
    files, database = made
    with Store.open(database, read_only=True) as store:
        periods = list_periods(store)
    assert [one.source for one in periods] == [file.name for file in files]
    found = run_fresh("read", database, MEASURED)
    assert 0 < found["users"] <= found["cells"] <= periods[MEASURED - 1].interactions
    assert found["peak"] > 0
    assert 0.99 * SHAPE.rows < sum(one.interactions for one in periods) <= SHAPE.rows


def test_copy_reads_all_rows(made, tmp_path):
    assert copy(made[0], tmp_path / "theirs.duckdb")["seconds"] > 0
    with duckdb.connect(tmp_path / "theirs.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchall() == [(SHAPE.rows,)]


def test_growth_is_described_and_drawn(tmp_path):
    assert describe_growth([1, 10, 100], [1, 1, 10]) == "rows^1.00 at last, rows^0.50 over all"
    found = [Measured(n, n, {"seconds": n / 10}, {"seconds": n / 20}) for n in (10, 100, 1000)]
    draw(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
