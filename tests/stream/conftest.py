"""Stores made of a few rows."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.log.ingest import ingest_log
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store

Row = tuple[int, int, int, int]
"""User, item, period from 1, and seconds within the period, less than `PERIOD_SECONDS`."""
StoreOf = Callable[[Sequence[Row]], AbstractContextManager[Store]]

PERIOD_SECONDS = 1000
_START = 1_600_000_000


@pytest.fixture(scope="session")
def store_of(tmp_path_factory):
    """Make a store in memory from rows in file order; the cuts are fixed times."""
    folder: Path = tmp_path_factory.mktemp("logs")

    @contextmanager
    def make(rows):
        users, items, periods, seconds = (list(column) for column in zip(*rows, strict=True))
        times = _START + PERIOD_SECONDS * (np.array(periods) - 1) + np.array(seconds)
        path = folder / "log.parquet"
        table = {"user_id": pa.array(users), "item_id": pa.array(items), "timestamp": times}
        pq.write_table(pa.table(table), path)
        starts = _START + PERIOD_SECONDS * np.arange(1, max(periods))
        with Store.open(":memory:") as store:
            ingest_log(store, [path], lambda _: starts * 1_000_000, IngestSettings())
            yield store

    return make
