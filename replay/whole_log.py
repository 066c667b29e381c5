"""A log that someone names as a whole: no periods, no store that stays."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from storage.errors import UserError
from storage.matrices import UserRows, count_known_items, read_rows
from storage.periods import list_periods
from storage.remote import Bucket, Place, Remote
from storage.store import Store
from stream.cuts import make_cut
from stream.hold import hold_log
from stream.sources.protocol import LogFiles


def check_folder(output: Place) -> None:
    """Before any work is done for a file that cannot be written.

    Raises:
        UserError: its folder is not there, or its bucket.
    """
    if isinstance(output, Remote):
        Bucket(output).require(output)
        return
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; create it first")


@contextmanager
def hold_whole(log: LogFiles, reading: Mapping[str, Any]) -> Iterator[Store]:
    """A store in memory with the log.

    Args:
        log: from `stream.sources`.
        reading: fields of `IngestSettings` that differ from the source's own.

    Raises:
        UserError: the log cannot be read.
    """
    log = dataclasses.replace(log, settings=dataclasses.replace(log.settings, **reading))
    with Store.open(":memory:") as store:
        # Any cut will do: the periods are read together.
        hold_log(store, log, make_cut("files" if len(log.paths) > 1 else "equal-count", 1))
        yield store


def read_whole(store: Store) -> UserRows:
    """All users with everything they did.

    Raises:
        UserError: the log is empty.
    """
    periods = list_periods(store)
    if not periods:
        raise UserError("the log has no interactions, so there is nothing to choose from")
    last = periods[-1].period
    return read_rows(store, 1, last, num_items=count_known_items(store, last))
