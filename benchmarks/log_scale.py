"""A log of 10⁸ interactions beside DuckDB's own COPY: `python -m benchmarks.log_scale`.

Seventeen seeded Parquet files, one a period, are generated in chunks and become 17 periods of a new
store as `perennial ingest` makes them; DuckDB copies the same files into a table without keys. Each
in a fresh process: seconds are those from an open to a closed database, the peak is the most that
the process held in memory. The files are cached before either begins. Then the CSR matrix of one
period is read from the large store, and from one that holds nothing but that period.

`--plot FILE` draws seconds against rows.
"""

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.scaling import power_law, run_child
from perennial.storage.log.matrices import count_known_items, read_rows
from perennial.storage.store import Store

SEED = 20_261_125
NUM_PERIODS = 17
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
CHUNK_ROWS = 1_000_000
MONTH = 30 * 86_400
FIRST = 1_600_000_000
MEASURED = 9
"""The period whose matrix is read."""


@dataclass(frozen=True)
class Shape:
    """Size of a log.

    Attributes:
        rows: of all files.
        users: who may occur; 50 rows each on average.
        items: that may occur; 500 rows each on average.
    """

    rows: int
    users: int
    items: int

    @classmethod
    def of(cls, rows: int) -> "Shape":
        """At 10⁸ rows 2·10⁶ users and 2·10⁵ items."""
        return cls(rows, max(rows // 50, NUM_PERIODS), max(rows // 500, NUM_PERIODS))

    def period_rows(self, period: int) -> int:
        """Rows of a period's file, numbered from 1."""
        return self.rows * period // NUM_PERIODS - self.rows * (period - 1) // NUM_PERIODS


def make_period(path: Path, shape: Shape, period: int, *, as_texts: bool) -> None:
    """Write a period's file, in order of time, a chunk at a time.

    Half of the rows are of users who came in this period, half of all who came before or now. Items
    follow Zipf's law with exponent 1, and the ones that are popular change by a tenth each period.

    Args:
        path: the file.
        shape: of the whole log.
        period: from 1.
        as_texts: identifiers as texts, and not as integers.
    """
    rng = np.random.default_rng([SEED, period])
    known = shape.users * period // NUM_PERIODS
    old = shape.users * (period - 1) // NUM_PERIODS
    total, kind = shape.period_rows(period), pa.string() if as_texts else pa.int64()
    schema = pa.schema([("user_id", kind), ("item_id", kind), ("timestamp", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, total, CHUNK_ROWS):
            rows = min(CHUNK_ROWS, total - start)
            is_new = rng.random(rows) < 0.5
            users = np.where(is_new, rng.integers(old, known, rows), rng.integers(0, known, rows))
            ranks = shape.items ** rng.random(rows)
            items = (ranks.astype(np.int64) + shape.items // 10 * period) % shape.items
            edges = MONTH * (period - 1) + MONTH * np.array([start, start + rows]) // total
            times = np.sort(rng.integers(FIRST + edges[0], FIRST + edges[1], rows))
            columns = [_name(users, "u", as_texts), _name(items, "sku-", as_texts), times]
            writer.write_table(pa.table(columns, schema=schema))


def _name(numbers: np.ndarray, prefix: str, as_texts: bool) -> pa.Array:
    """Identifiers, in no order that a dense index could profit from."""
    mixed = numbers * 2_654_435_761 % 2**32
    if not as_texts:
        return pa.array(mixed)
    distinct, places = np.unique(mixed, return_inverse=True)
    names = [f"{prefix}{number:08x}" for number in distinct.tolist()]
    return pa.array(names).take(pa.array(places))


def make_files(folder: Path, shape: Shape, *, as_texts: bool) -> list[Path]:
    """Write all periods' files."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"period-{number:04d}.parquet" for number in range(1, NUM_PERIODS + 1)]
    for number, path in enumerate(paths, start=1):
        make_period(path, shape, number, as_texts=as_texts)
    return paths


def ingest(files: Sequence[Path], database: Path) -> dict[str, float]:
    """Make each file a period, as `perennial ingest` does."""
    # It brings JAX, which the other processes are not to hold.
    from perennial.replay.live.ingest import LiveRequest, take_files

    began = time.perf_counter()
    with Store.open(database) as store:
        for _ in take_files(store, files, LiveRequest(train=False)):
            pass
    return {"seconds": time.perf_counter() - began}


def copy(files: Sequence[Path], database: Path) -> dict[str, float]:
    """COPY the files into a new table."""
    began = time.perf_counter()
    with duckdb.connect(database) as connection:
        sources = [str(file).replace("'", "''") for file in files]
        first = f"read_parquet('{sources[0]}')"
        connection.execute(f"CREATE TABLE log AS FROM {first} LIMIT 0").fetchall()
        for source in sources:
            connection.execute(f"COPY log FROM '{source}' (FORMAT parquet)").fetchall()
    return {"seconds": time.perf_counter() - began}


def read_period(database: Path, period: int) -> dict[str, float]:
    """Read a period as a CSR matrix, and return how much more memory that took."""
    with Store.open(database, read_only=True) as store:
        num_items = count_known_items(store, period)
        # What is loaded at first use is no part of it.
        store.table("SELECT rowid FROM interactions WHERE rowid < 1")
        before = _reset_peak()
        began = time.perf_counter()
        rows = read_rows(store, period, period, num_items=num_items)
        seconds = time.perf_counter() - began
        peak = _peak_bytes() - before
    nbytes = sum(a.nbytes for a in (rows.interactions.data, rows.interactions.indices))
    return {
        "seconds": seconds,
        "peak": peak,
        "users": len(rows.users),
        "cells": rows.interactions.nnz,
        "matrix": nbytes + rows.interactions.indptr.nbytes,
    }


def _reset_peak() -> int:
    """Begin to measure anew, where the kernel lets us; bytes that are held."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    """The most that this process held in memory so far."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


run_fresh = partial(run_child, "log_scale", "--child")
"""Does one piece of `work` in a new process; what it found, and its peak."""


def work(words: Sequence[str]) -> dict[str, Any]:
    """Tasks of a child process."""
    what, database, *rest = words
    if what == "read":
        return read_period(Path(database), int(rest[0]))
    began = time.process_time()
    found = (ingest if what == "ingest" else copy)([Path(file) for file in rest], Path(database))
    return found | {"cpu": time.process_time() - began, "process_peak": _peak_bytes()}


@dataclass(frozen=True)
class Measured:
    """One size of log.

    Attributes:
        rows: of all files.
        input_bytes: of the Parquet files.
        ours: `seconds`, `cpu` (seconds too), `process_peak`, `file_bytes`.
        theirs: likewise of COPY.
    """

    rows: int
    input_bytes: int
    ours: dict[str, Any]
    theirs: dict[str, Any]


def measure(
    rows: int, folder: Path, repeats: int, *, as_texts: bool, reads: Table | None
) -> Measured:
    """Both ways in turn, the fastest of some repeats of each."""
    files = make_files(folder, Shape.of(rows), as_texts=as_texts)
    best: dict[str, dict[str, Any]] = {}
    for _ in range(repeats):
        for what in ("ingest", "copy"):
            for file in files:
                file.read_bytes()
            database = folder / f"{what}.duckdb"
            database.unlink(missing_ok=True)
            found = run_fresh(what, database, *files)
            found["file_bytes"] = database.stat().st_size
            if what not in best or found["seconds"] < best[what]["seconds"]:
                best[what] = found
    (folder / "copy.duckdb").unlink()
    if reads is not None:
        alone = folder / "alone.duckdb"
        run_fresh("ingest", alone, files[MEASURED - 1])
        add_reads(reads, rows, run_fresh("read", folder / "ingest.duckdb", MEASURED), "17 periods")
        add_reads(reads, rows, run_fresh("read", alone, 1), "it alone")
        alone.unlink()
    (folder / "ingest.duckdb").unlink()
    size = sum(file.stat().st_size for file in files)
    for file in files:
        file.unlink()
    return Measured(rows, size, best["ingest"], best["copy"])


def add_reads(table: Table, rows: int, found: dict[str, Any], held: str) -> None:
    """Enter what reading a period took."""
    table.add_row(
        f"{rows:,}",
        held,
        f"{Shape.of(rows).period_rows(MEASURED):,}",
        f"{found['cells']:,}",
        f"{found['seconds']:.2f}",
        f"{found['matrix'] / 2**20:,.0f}",
        f"{found['peak'] / 2**20:,.0f}",
    )


def add_size(table: Table, one: Measured) -> None:
    """Enter one size; the ratio is COPY's time over ours."""
    for name, way in (("perennial", one.ours), ("COPY", one.theirs)):
        ratio = one.theirs["seconds"] / one.ours["seconds"]
        table.add_row(
            f"{one.rows:,}",
            name,
            f"{way['seconds']:.2f}",
            f"{way['cpu']:.2f}",
            f"{one.rows / way['seconds'] / 1e6:.2f}",
            f"{ratio:.2f}" if way is one.ours else "",
            f"{way['process_peak'] / 2**30:.2f}",
            f"{way['file_bytes'] / 2**20:,.0f}",
            f"{one.input_bytes / 2**20:,.0f}",
        )


def describe_growth(rows: Sequence[int], seconds: Sequence[float]) -> str:
    """The exponent over all sizes, and over the last two, where what does not grow is little."""
    if len(rows) < 2:
        return "one size"
    last, _ = power_law(rows[-2:], seconds[-2:])
    whole, _ = power_law(rows, seconds)
    return f"rows^{last:.2f} at last, rows^{whole:.2f} over all"


def draw(found: Sequence[Measured], path: Path) -> None:
    """Seconds against rows, both logarithmic."""
    import matplotlib.pyplot as plt

    rows = [one.rows for one in found]
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    # Okabe and Ito's blue and vermilion, distinguished by marker and dash too.
    for name, ways, colour, style in (
        ("perennial ingest, 17 periods", [one.ours for one in found], "#0072B2", "o-"),
        ("DuckDB's COPY of the same files", [one.theirs for one in found], "#D55E00", "s--"),
    ):
        seconds = [way["seconds"] for way in ways]
        label = f"{name}\n({describe_growth(rows, seconds)})"
        axes.plot(rows, seconds, style, color=colour, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("interactions")
    axes.set_ylabel("seconds")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", type=int, default=SIZES, help="of all files together")
    parser.add_argument("--ids", choices=("integers", "texts"), default="integers")
    parser.add_argument("--repeats", type=int, default=1, help="of each way; the fastest counts")
    parser.add_argument("--folder", type=Path, help="where the files are made")
    parser.add_argument("--plot", type=Path, help="a picture to draw")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(work(arguments.child)))
        return
    sizes = Table(
        "rows", "way", "s", "CPU s", "M rows/s", "ratio", "peak GiB", "file MiB", "Parquet MiB"
    )
    reads = Table("log", "store holds", "period's rows", "cells", "s", "CSR MiB", "peak MiB")
    found = []
    for num_rows in sorted(arguments.rows):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            as_texts = arguments.ids == "texts"
            found.append(
                measure(num_rows, Path(name), arguments.repeats, as_texts=as_texts, reads=reads)
            )
        add_size(sizes, found[-1])
    console = Console(width=110)
    console.print(sizes)
    console.print("ratio: COPY's time over ours")
    console.print(reads)
    rows = [one.rows for one in found]
    for name, ways in (
        ("perennial", [one.ours for one in found]),
        ("COPY", [one.theirs for one in found]),
    ):
        wall, cpu = (describe_growth(rows, [way[k] for way in ways]) for k in ("seconds", "cpu"))
        console.print(f"{name}: {wall}; CPU time {cpu}")
    cores = duckdb.sql("SELECT current_setting('threads')").fetchall()[0][0]
    console.print(f"duckdb {duckdb.__version__}, {cores} threads; identifiers: {arguments.ids}")
    if arguments.plot:
        draw(found, arguments.plot)


if __name__ == "__main__":
    main()
