"""Ingestion beside DuckDB's own load of the same Parquet file: `python -m benchmarks.ingest`.

Both go into a new database file, one after the other in the same process, several times over. Ours
hashes the file, checks and orders the rows, merges equal ones, gives dense indices, cuts 17 periods
and commits; DuckDB copies all columns of the file into a table without keys. The file is cached
before the first run, and the time is that from an open to a closed database.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from perennial.storage.log.ingest import ingest_log
from perennial.storage.store import Store

SEED = 20_240_601
SPAN = 20 * 365 * 86_400
FIRST = 820_454_400


@dataclass(frozen=True)
class Timing:
    """Seconds of the repeats of one way to load one file."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def make_log(path: Path, num_rows: int, seed: int = SEED) -> None:
    """Write a log like MovieLens: grouped by user, each for a few days of twenty years.

    Per 20 M rows it has 138,000 users and 27,000 items, their popularity falling with the cube.
    """
    rng = np.random.default_rng(seed)
    num_users, num_items = num_rows * 138 // 20_000, num_rows * 27 // 20_000
    users = np.sort(rng.integers(1, num_users + 1, num_rows))
    items = (num_items * rng.random(num_rows) ** 3).astype(np.int64) + 1
    starts = FIRST + rng.integers(0, SPAN, num_users + 1)
    table = pa.table(
        {
            "user_id": users,
            "item_id": items,
            "rating": rng.integers(1, 11, num_rows) / 2,
            "timestamp": starts[users] + rng.integers(0, 3 * 86_400, num_rows),
        }
    )
    pq.write_table(table, path)


def cut_into_17(times: np.ndarray) -> np.ndarray:
    """Periods of equal count."""
    return np.unique(times[np.arange(1, 17) * len(times) // 17])


def load_ours(file: Path, database: Path) -> None:
    """Ingest a file as a log."""
    with Store.open(database) as store:
        ingest_log(store, [file], cut_into_17)


def load_with_copy(file: Path, database: Path) -> None:
    """COPY a file into an empty table."""
    with duckdb.connect(database) as connection:
        source = str(file).replace("'", "''")
        connection.execute(f"CREATE TABLE log AS FROM read_parquet('{source}') LIMIT 0").fetchall()
        connection.execute(f"COPY log FROM '{source}' (FORMAT parquet)").fetchall()


def load_with_create(file: Path, database: Path) -> None:
    """CREATE a table AS a file."""
    with duckdb.connect(database) as connection:
        source = str(file).replace("'", "''")
        connection.execute(f"CREATE TABLE log AS FROM read_parquet('{source}')").fetchall()


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "perennial": load_ours,
    "COPY FROM": load_with_copy,
    "CREATE TABLE AS": load_with_create,
}


def measure(file: Path, folder: Path, repeats: int) -> list[Timing]:
    """Time each way in turn, `repeats` times, after one round that does not count."""
    file.read_bytes()
    timings = [Timing(name, []) for name in WAYS]
    for turn in range(repeats + 1):
        for timing, load in zip(timings, WAYS.values(), strict=True):
            database = folder / f"{turn}-{timing.name.replace(' ', '-')}.duckdb"
            start = time.perf_counter()
            load(file, database)
            if turn:
                timing.seconds.append(time.perf_counter() - start)
            database.unlink()
    return timings


def add_rows(table: Table, name: str, num_rows: int, timings: list[Timing]) -> None:
    """Enter a file's timings; the ratio is DuckDB's time over ours."""
    ours = timings[0]
    for timing in timings:
        pairs = [theirs / own for theirs, own in zip(timing.seconds, ours.seconds, strict=True)]
        table.add_row(
            name,
            f"{num_rows:,}",
            timing.name,
            f"{timing.median:.2f}",
            f"{min(timing.seconds):.2f}",
            f"{num_rows / timing.median / 1e6:.1f}",
            "" if timing is ours else f"{statistics.median(pairs):.2f}",
        )


def main() -> None:
    """Measure the files given, and a generated one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="Parquet files of your own")
    parser.add_argument(
        "--rows", type=int, default=20_000_000, help="of the generated log; 0: none"
    )
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    table = Table("log", "rows", "way", "median s", "best s", "M rows/s", "ratio")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = list(arguments.files)
        if arguments.rows:
            files.append(folder / "generated.parquet")
            make_log(files[-1], arguments.rows)
        for file in files:
            timings = measure(file, folder, arguments.repeats)
            add_rows(table, file.stem, pq.read_metadata(file).num_rows, timings)
    console = Console(width=100)
    console.print(table)
    console.print("ratio: DuckDB's time over ours, the median of the pairs; at least 0.5 is wanted")
    cores = duckdb.sql("SELECT current_setting('threads')").fetchall()[0][0]
    console.print(f"duckdb {duckdb.__version__}, {cores} threads")


if __name__ == "__main__":
    main()
