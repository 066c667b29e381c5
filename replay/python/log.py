"""A log for Python: files, a folder or a data set by name, or a table in memory."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.replay import logs
from perennial.replay.logs import LogRequest, OpenLog, hold_log
from perennial.replay.python.settings import Reading, check_reading
from perennial.storage.base import Json, Progress
from perennial.storage.compile_cache import cache_folder
from perennial.storage.errors import UserError
from perennial.storage.objects.bucket import is_remote
from perennial.storage.objects.copies import errors_by_address
from perennial.stream.sources.base import LogFiles
from perennial.stream.sources.object_storage import open_local_source
from perennial.stream.sources.registry import check_source


@dataclass(frozen=True)
class Log:
    """A log, and the settings with which it is read; nothing is read before it is used.

    Attributes:
        source: path, address or name of a data set; or a table.
        reading: fields of `IngestSettings` that differ from the source's own.
        cache: folder for downloads and generated logs.
        mirror: address to download from in place of the publisher's.
    """

    source: str | pa.Table
    reading: Mapping[str, Json]
    cache: Path
    mirror: str | None

    @contextmanager
    def open(
        self, store: Path | None, periods: int | None, cut: str | None, progress: Progress
    ) -> Iterator[OpenLog]:
        """Cut the log into periods, in a store in memory without a path; see `LogRequest`."""
        opening = hold_log if store is None else logs.open_log
        with self._place() as source:
            request = LogRequest(self.cache, self.mirror, source, store, cut, periods, self.reading)
            with opening(request, progress) as log:
                yield log

    @contextmanager
    def open_files(self, progress: Progress) -> Iterator[LogFiles]:
        """Find the files of the log; those of a table or a bucket are removed at the end."""
        with (
            self._place() as source,
            open_local_source(
                source, Path(), cache=self.cache, mirror=self.mirror, progress=progress
            ) as files,
        ):
            yield files

    @contextmanager
    def _place(self) -> Iterator[str]:
        if isinstance(self.source, str):
            yield self.source
            return
        with table_file(self.source) as path:
            yield str(path)


def open_log(
    source: Any,
    *,
    cache: str | Path | None = None,
    mirror: str | None = None,
    **reading: Unpack[Reading],
) -> Log:
    """Open a log: a path, an address or the name of a data set, or a table.

    A table is one of Arrow, pandas, polars or any other library that has `__arrow_c_stream__`; its
    columns are found as those of a file. `cache` is the folder for downloads, the user's by
    default, and `mirror` an address to download from in place of the publisher's.

    Raises:
        UserError: there is no such source, or a setting of the reading does not fit.
    """
    checked = check_reading(reading)
    opened = find_table(source) if not isinstance(source, str | Path) else str(source)
    if isinstance(opened, str) and not is_remote(opened):
        check_source(opened)
    return Log(opened, checked, cache_folder() if cache is None else Path(cache), mirror)


def find_table(source: Any) -> pa.Table:
    """Return a data frame or an Arrow object as an Arrow table.

    Raises:
        UserError: it is neither, or its columns have mixed types.
    """
    if not (hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__")):
        raise UserError(
            f"a {type(source).__name__} is no log; give a path, the name of a data set, or a table "
            "of Arrow, pandas or polars"
        )
    try:
        return pa.table(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"the table cannot be read through Arrow: {_one_line(error)}") from error


@contextmanager
def table_file(table: pa.Table) -> Iterator[Path]:
    """Write a table into a temporary Parquet file; errors inside do not show its path.

    Raises:
        UserError: a column has a type that Parquet lacks, or the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="perennial-table-") as folder:
        path = Path(folder, "table.parquet")
        try:
            pq.write_table(table, path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"the table cannot be written as Parquet: {_one_line(error)}"
            ) from error
        with errors_by_address({path: "the table"}):
            yield path


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
