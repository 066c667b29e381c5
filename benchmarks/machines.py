"""A study by local workers and by a Ray cluster of two nodes: `python -m benchmarks.machines`.

The same small study is made by one local worker, by two, and by two nodes with room for one worker
each, which run on this machine too: what is compared is not how fast more machines are, but what
Ray costs. All three must come to the same figures to the bit, or nothing is printed. The time of a
study is from an open engine to the linked run; starting the cluster and joining it stand apart.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.study.continual import ContinualStudy, run_continual
from perennial.replay.study.workers.base import ExecutorOptions
from perennial.replay.study.workers.ray_cluster import RAY_VARIABLES
from perennial.replay.study.workers.registry import EXECUTORS
from perennial.storage.log.ingest import ingest_log
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store

Figures = list[tuple[str, int, float | None]]
"""Key of the cell, place of the figure, its value."""


@dataclass(frozen=True)
class Measured:
    """A study by one engine.

    Attributes:
        name: of the engine and its workers.
        joining: seconds until the engine was there.
        seconds: from then on until the run was linked.
        figures: all of the store.
    """

    name: str
    joining: float
    seconds: float
    figures: Figures


def make_log(path: Path, num_rows: int, num_periods: int, seed: int = 0) -> Path:
    """A store with interactions of seeded users and items, cut into periods of equal length."""
    rng = np.random.default_rng(seed)
    users = rng.integers(num_rows // 20, size=num_rows)
    items = rng.zipf(1.3, size=num_rows) % (num_rows // 40)
    seconds = 60 * np.arange(num_rows)
    lines = [f"u{u},i{i},{s}\n" for u, i, s in zip(users, items, seconds, strict=True)]
    log = path.with_suffix(".csv")
    log.write_text("user_id,item_id,timestamp\n" + "".join(lines))
    starts = np.linspace(0, 60 * num_rows, num_periods + 1)[1:-1].astype(np.int64) * 1_000_000
    with Store.open(path) as store:
        ingest_log(store, [log], lambda _times: starts, IngestSettings())
    return path


def make_study(seeds: Sequence[int]) -> ContinualStudy:
    """∞-AE on the newest period and on the whole past: two tasks for each seed."""
    models = (ModelChoice("infinite-ae", {"reg": 5.0}),)
    config = ReplayConfig(strategies=("individual", "joint"), models=models, seeds=tuple(seeds))
    return ContinualStudy(config, None, (), 1)


def measure(
    name: str, log: Path, study: ContinualStudy, engine: str, request: ExecutorOptions
) -> Measured:
    """Make a study in a fresh copy of a store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(log, Path(folder) / "store.duckdb"))
        asked = time.perf_counter()
        with EXECUTORS.load(engine)(request, lambda text: None) as opened:
            began = time.perf_counter()
            run_continual(path, study, on_event=lambda event: None, executor=opened)
            ended = time.perf_counter()
        with Store.open(path) as store:
            figures = store.rows("SELECT cell_key, ordinal, value FROM figures ORDER BY ALL")
    return Measured(name, began - asked, ended - began, figures)


def compare(log: Path, study: ContinualStudy, address: str) -> list[Measured]:
    """One local worker, two, and the cluster at an address.

    Raises:
        AssertionError: they do not come to the same figures.
    """
    asked = (
        ("one local worker", "local", ExecutorOptions(workers=1)),
        ("two local workers", "local", ExecutorOptions(workers=2)),
        ("two Ray nodes", "ray", ExecutorOptions(workers=2, address=address)),
    )
    found = [measure(name, log, study, engine, request) for name, engine, request in asked]
    assert found[0].figures
    assert all(one.figures == found[0].figures for one in found), "the figures differ"
    return found


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster on this machine: two nodes with room for one worker each."""
    os.environ |= RAY_VARIABLES
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        add_node(cluster, include_dashboard=False)
        add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, **given: Any) -> None:
    """A node with room for one worker; Ray waits half a minute, a busy machine needs longer."""
    for left in (2, 1, 0):
        try:
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20, **given)
            return
        except Exception:
            # Ray ends what it had started of it with this process.
            if not left:
                raise


def to_markdown(found: Sequence[Measured]) -> str:
    """A table, with ratios to the first."""
    lines = ["| engine | joining s | study s | beside one worker |", "|---|---|---|---|"]
    for one in found:
        ratio = one.seconds / found[0].seconds
        lines.append(f"| {one.name} | {one.joining:.1f} | {one.seconds:.1f} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Make the log, start the cluster, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000, help="interactions of the log")
    parser.add_argument("--periods", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2, help="two tasks each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = make_log(Path(folder) / "log.duckdb", asked.rows, asked.periods)
        began = time.perf_counter()
        with two_nodes() as cluster:
            started = time.perf_counter() - began
            found = compare(log, make_study(range(asked.seeds)), cluster.address)
    print(f"{len(found[0].figures)} figures, the same to the bit; cluster up in {started:.1f} s\n")
    print(to_markdown(found))


if __name__ == "__main__":
    main()
