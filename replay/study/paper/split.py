"""The split of a study: a file of the user's, or one that is made from their log."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.replay.study.paper.paper_figures import PAPER
from perennial.replay.whole_log import hold_whole, read_whole
from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.storage.log.ledger import IngestListener, ignore_report
from perennial.storage.log.vocabulary import ITEMS, USERS, id_column
from perennial.storage.objects.table_files import write_table
from perennial.stream.random_split import (
    PART_NAMES,
    SplitPart,
    draw_parts,
    has_split,
    read_paper_split,
)
from perennial.stream.sources.base import LogFiles
from perennial.stream.sources.registry import SOURCES, open_source

FOLDER = "splits"
"""Subfolder of a study's folder for splits that are made."""


@dataclass(frozen=True)
class SplitRequest:
    """Log or split to study.

    Attributes:
        cache: folder for downloads and generated logs.
        mirror: address to download from in place of the publisher's.
        source: name of a data set, or a file; `None` for the embedded stream, or with `split` for
            a log without a name.
        split: a Parquet file with the columns `user_id`, `item_id` and `split`; `None` for a split
            of `source`.
        paper: data set of the paper whose figures belong to it; `None` for the one of the source's
            name, if any.
        seed: of a split that is made; `None` for 0.
        reading: fields of `IngestSettings` that differ from the source's own.
    """

    cache: Path
    mirror: str | None = None
    source: str | None = None
    split: Path | None = None
    paper: str | None = None
    seed: int | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenSplit:
    """A split in a file; `num_interactions` are in use of train, validation and test.

    `paper` is a key of `PAPER`; `None` for a log without figures in the paper.
    """

    path: Path
    content: str
    source: str
    paper: str | None
    origin: str
    num_users: int
    num_items: int
    num_interactions: tuple[int, int, int]


def open_split(
    request: SplitRequest, folder: Path, progress: Progress, on_read: IngestListener = ignore_report
) -> OpenSplit:
    """Open a split, or make it and write it into the folder of the study.

    Raises:
        UserError: the file or the log cannot be read, there is too little to split, or options for
            a log come with a split.
    """
    source, given = request.source, request.split
    if given is None and source is not None and source not in SOURCES and has_split(Path(source)):
        given = Path(source)
    if given is not None:
        if request.seed is not None or request.reading or request.mirror:
            raise UserError(
                f"{given} is split already; leave out --split-seed, --mirror and how to read a log"
            )
        path, origin = given, f"as it stands in {given.name}"
        name = source if source is not None and source != str(given) else given.stem
    else:
        name = source or next(iter(SOURCES))
        log = open_source(name, cache=request.cache, mirror=request.mirror, progress=progress)
        path, name = _make(log, request, folder, on_read), log.name
        origin = f"80/10/10 at random per user, seed {request.seed or 0}"
    paper = request.paper or (name if name in PAPER else None)
    split = read_paper_split(path)
    parts = (split.train.interactions, split.validation.targets, split.test.targets)
    return OpenSplit(
        path=path,
        content=_hash(path),
        source=name,
        paper=paper,
        origin=origin,
        num_users=len(split.train.users),
        num_items=int(split.train.interactions.shape[1]),
        num_interactions=(int(parts[0].nnz), int(parts[1].nnz), int(parts[2].nnz)),
    )


def _make(log: LogFiles, request: SplitRequest, folder: Path, on_read: IngestListener) -> Path:
    """Split a log, write the file and return its path."""
    with hold_whole(log, request.reading, on_read) as store:
        given = read_whole(store)
        parts = draw_parts(given.interactions, request.seed or 0)
        rows, items = given.interactions.tocoo().coords
        used = parts != SplitPart.REMOVED
        users = id_column(store, USERS, given.users)
        names = id_column(store, ITEMS, np.arange(given.interactions.shape[1]))
        table = pa.table(
            {
                "user_id": users.take(pa.array(rows[used])),
                "item_id": names.take(pa.array(items[used])),
                "split": pa.array(np.array(PART_NAMES)[parts[used]]).dictionary_encode(),
            }
        )
    path = folder / FOLDER / f"{log.name}-{request.seed or 0}.parquet"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); name another folder"
        ) from error
    write_table(table, path)
    return path


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
