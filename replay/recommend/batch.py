"""Recommendations for many users, written to a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from perennial.replay.recommend.catalogue import UnknownName
from perennial.replay.recommend.recommender import Recommender
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.objects.bucket import Place
from perennial.storage.objects.table_files import write_table
from perennial.storage.reading.identifier_forms import canonical, to_column

_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class BatchReport:
    """Counts of a written file of recommendations; unknown users are not in the store."""

    users: int
    unknown: int
    rows: int


def read_names(path: Path) -> tuple[str, ...]:
    """Read distinct identifiers, one per line of a file, in order; `UserError` if it is no text."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; split it")
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; give a text file with one per line") from None
    return tuple(dict.fromkeys(name for line in lines if (name := line.strip())))


def recommend_to_file(
    recommender: Recommender,
    users: Sequence[str],
    path: Place,
    *,
    k: int = 10,
    exclude: Sequence[str | int] = (),
    exclude_seen: bool = True,
    progress: Progress = ignore_progress,
) -> BatchReport:
    """Write rows (user_id, rank, item_id, score and, if any item has one, title).

    The file is replaced as a whole. Unknown users are left out; each other one gets `k` ≥ 1
    items, none of which is in `exclude`.

    Raises:
        UserError: no users are given, or the file cannot be written.
        UnknownName: all of them are unknown.
    """
    if not users:
        raise UserError("no users given; name at least one")
    catalogue = recommender.catalogue
    users = tuple(dict.fromkeys(map(canonical, users)))
    known = [user for user in users if user in catalogue.user_rows]
    if not known:
        raise UnknownName(
            f"none of the {len(users):,} users is in the store; check the identifiers", users
        )
    user_ids = to_column(catalogue.user_ids, catalogue.user_type)
    item_ids = to_column(catalogue.item_ids, catalogue.item_type)
    schema = pa.schema(
        [
            ("user_id", catalogue.user_type),
            ("rank", pa.int32()),
            ("item_id", catalogue.item_type),
            ("score", pa.float32()),
        ]
    )
    parts = [schema.empty_table()]
    for block in recommender.rank_users(
        known,
        k,
        exclude=exclude,
        exclude_seen=exclude_seen,
        progress=lambda done: progress("recommending", done, len(known)),
    ):
        rows, ranks = np.nonzero(block.items >= 0)
        parts.append(
            pa.table(
                {
                    "user_id": user_ids.take(pa.array(block.users[rows])),
                    "rank": pa.array(ranks + 1, pa.int32()),
                    "item_id": item_ids.take(pa.array(block.items[rows, ranks])),
                    "score": block.scores[rows, ranks],
                }
            )
        )
    table = pa.concat_tables(parts)
    titles = [catalogue.title(item) for item in table["item_id"].to_pylist()]
    if any(title is not None for title in titles):
        table = table.append_column("title", pa.array(titles, pa.string()))
    write_table(table, path)
    return BatchReport(len(known), len(users) - len(known), table.num_rows)
