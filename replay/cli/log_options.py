"""Groups of options for the log of a command: its files, how it is cut, and its store."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from perennial.replay.cli.errors import echo
from perennial.replay.cli.options import field, option
from perennial.replay.cli.parameters import (
    CUTS,
    FORMATS,
    POSITIVE,
    cache_option,
    source_argument,
    store_option,
    wait_option,
)
from perennial.storage.compile_cache import cache_folder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from perennial.replay.logs import OpenLog
    from perennial.storage.log.ledger import IngestReport
    from perennial.storage.reading.settings import IngestSettings

COLUMN = "Its name, or its position, 1 for the first.  [default: a usual name]"


def _parse_where(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    if not texts:
        return None
    from perennial.storage.reading.filters import parse_where

    return parse_where(texts)


class _SettingOptions:
    """Options that are fields of `IngestSettings`; `None` for the source's own setting."""

    @property
    def changes(self) -> dict[str, Any]:
        """Fields of `IngestSettings` that were given."""
        names = (one.name for one in dataclasses.fields(cast("DataclassInstance", self)))
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def to_settings(self) -> "IngestSettings":
        """Return the settings for files of a user's own."""
        from perennial.storage.reading.settings import IngestSettings

        return IngestSettings(**self.changes)


@dataclass(frozen=True)
class ColumnOptions(_SettingOptions):
    """The columns of log files."""

    user_column: str | None = option("--user-column", metavar="NAME", help=COLUMN)
    item_column: str | None = option("--item-column", metavar="NAME", help=COLUMN)
    time_column: str | None = option("--time-column", metavar="NAME", help=COLUMN)
    time_format: str | None = option(
        "--time-format",
        metavar="FORMAT",
        help="Format of the times: a pattern such as '%d/%m/%Y %H:%M', or s, ms, us or ns since "
        "1970, excel or ticks.  [default: Unix times, ISO 8601, or digits such as 20240131]",
    )


@dataclass(frozen=True)
class FormOptions(_SettingOptions):
    """The form of files."""

    format: str | None = option(
        "--format", type=click.Choice(FORMATS), help="Guessed from the file's name if not given."
    )
    header: bool | None = option(
        "--header/--no-header",
        default=None,
        help="The first line of a text file names the columns, or does not.  [default: guessed]",
    )
    encoding: str | None = option(
        "--encoding",
        metavar="NAME",
        help="Encoding of a text file, such as latin-1.  [default: utf-8]",
    )
    max_reject_share: float | None = option(
        "--max-reject-share",
        type=click.FloatRange(0, 1),
        help="Share of bad lines over which a file is refused.  [default: 0.05]",
    )


@dataclass(frozen=True)
class ConditionOptions(_SettingOptions):
    """The rows of log files that count."""

    min_rating: float | None = option(
        "--min-rating",
        type=float,
        metavar="X",
        help="Only rows with a rating of at least X count.  [default: those of the store's log, "
        "else all rows]",
    )
    rating_column: str | None = option("--rating-column", metavar="NAME", help=COLUMN)
    where: tuple[tuple[str, tuple[str, ...]], ...] | None = option(
        "--where",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_parse_where,
        help="Only rows with this value in this column count, or one of several (event=buy,add); "
        "repeatable, all conditions hold.  [default: those of the store's log, else all rows]",
    )


@dataclass(frozen=True)
class ReadingOptions(ConditionOptions, FormOptions, ColumnOptions):
    """Settings of the reader of log files."""


@dataclass(frozen=True)
class DownloadOptions:
    """Folder and address of downloaded data sets."""

    cache: Path | None = field(cache_option)  # noqa: RUF009
    mirror: str | None = option(
        "--mirror", metavar="URL", help="A folder to download from instead of the publisher's."
    )

    @property
    def folder(self) -> Path:
        """Folder for downloads and generated logs."""
        return self.cache or cache_folder()


@dataclass(frozen=True)
class CutOptions:
    """The log, and how it is cut into periods."""

    source: str | None = field(source_argument())
    periods: int | None = option(
        "--periods",
        type=click.IntRange(min=2),
        help="Periods to cut the log into (equal-count and equal-span).  [default: 17]",
    )
    cut: str | None = option(
        "--cut",
        type=click.Choice(CUTS),
        help="How to cut the log.  [default: files for a folder of period files and for "
        "diginetica, else equal-count]",
    )


@dataclass(frozen=True)
class StoredLogOptions:
    """The store of a log."""

    store: Path | None = field(  # noqa: RUF009
        store_option(
            "Where log and results are kept.  [default: SOURCE.duckdb here]",
            required=False,
            must_exist=False,
        )
    )
    wait: float = field(wait_option)


class ReadingPrinter:
    """Printer of how files were read, on stderr; a listener of ingestions."""

    def __init__(self) -> None:
        self._reports: list[IngestReport] = []

    def __call__(self, report: "IngestReport") -> None:
        """Print one line for files that were read alike, and one for each remark."""
        from perennial.replay.live.steps import describe_layouts

        self._reports.append(report)
        for line in describe_layouts(report):
            echo(line, err=True)

    def to_json(self) -> dict[str, Any]:
        """Plain values of all that was read."""
        from perennial.replay.live.steps import readings_to_json

        return readings_to_json(self._reports)


@contextmanager
def open_requested_log(
    stored: StoredLogOptions, cut: CutOptions, reading: ReadingOptions, download: DownloadOptions
) -> Iterator["OpenLog"]:
    """Open the log in its store; print on stderr what was read and where it is."""
    from perennial.replay.cli.progress import show_bar
    from perennial.replay.live.steps import describe_ingest
    from perennial.replay.logs import LogRequest, open_log

    request = LogRequest(
        download.folder,
        download.mirror,
        source=cut.source,
        store=stored.store,
        cut=cut.cut,
        num_periods=cut.periods,
        reading=reading.changes,
        wait=stored.wait,
    )
    with ExitStack() as stack:
        with show_bar() as progress:
            log = stack.enter_context(open_log(request, progress))
        printer = ReadingPrinter()
        for report in log.reports:
            printer(report)
            echo(describe_ingest(report), err=True)
        echo(f"log and results: {log.path}", err=True)
        yield log


@dataclass(frozen=True)
class ForgetOptions:
    """Limit of the log that is kept."""

    forget_log_after: int | None = option(
        "--forget-log-after",
        type=POSITIVE,
        metavar="K",
        help="Keep the interactions of the newest K periods only; the memory stands for the rest.",
    )


@dataclass(frozen=True)
class LateOptions:
    """Treatment of late files."""

    late: Literal["refuse", "merge"] = option(
        "--late",
        type=click.Choice(("refuse", "merge")),
        default="refuse",
        help="Treatment of a file that is older than the newest period, or overlaps it.",
    )
