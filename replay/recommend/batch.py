"""Recommendations for many users at once, into a file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.replay.recommend.answers import Recommender
from perennial.replay.recommend.catalogue import UnknownName
from perennial.replay.summaries import write_table
from perennial.storage.errors import UserError
from perennial.storage.progress import Progress, ignore_progress

_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class BatchReport:
    """What was written.

    Attributes:
        users: who are in the file.
        unknown: users that were asked about and that the store does not know.
        rows: recommendations.
    """

    users: int
    unknown: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def read_names(path: Path) -> tuple[str, ...]:
    """Identifiers from a text file, one a line, each once and in its order.

    Raises:
        UserError: the file cannot be read, is not text, or is too large.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path}: larger than {_MOST_BYTES >> 20} MiB; split it")
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: not written in UTF-8; give a text file with one per line"
        ) from None
    return tuple(dict.fromkeys(name for line in lines if (name := line.strip())))


def recommend_to_file(
    answers: Recommender,
    users: Sequence[str],
    path: Path,
    *,
    k: int = 10,
    exclude: Sequence[str | int] = (),
    exclude_seen: bool = True,
    progress: Progress = ignore_progress,
) -> BatchReport:
    """Write rows (user_id, rank, item_id, score and, where one is known, title).

    Args:
        answers: the model.
        users: whom to recommend to; those that are unknown are left out.
        path: a Parquet file, replaced as a whole.
        k: items per user, ≥ 1.
        exclude: items that nobody gets.
        exclude_seen: leave out what a user has had.
        progress: told how many users are answered.

    Raises:
        UserError: no users are given, or the file cannot be written.
        UnknownName: all of them are unknown.
    """
    if not users:
        raise UserError("no users given; name at least one")
    known = [user for user in users if user in answers.known.user_rows]
    if not known:
        raise UnknownName(
            f"none of the {len(users):,} users is in the store; check the identifiers",
            users,
        )
    item_ids = pa.array(answers.known.item_ids)
    user_ids = pa.array(answers.known.user_ids)
    parts = [_empty_table(user_ids.type, item_ids.type)]

    def tell(done: int) -> None:
        progress("recommending", done, len(known))

    for block in answers.rank_users(
        known, k, exclude=exclude, exclude_seen=exclude_seen, progress=tell
    ):
        rows, places = np.nonzero(block.items >= 0)
        parts.append(
            pa.table(
                {
                    "user_id": user_ids.take(pa.array(block.users[rows])),
                    "rank": pa.array(places + 1, pa.int32()),
                    "item_id": item_ids.take(pa.array(block.items[rows, places])),
                    "score": block.scores[rows, places],
                }
            )
        )
    table = pa.concat_tables(parts)
    titles = [answers.known.title(item) for item in table["item_id"].to_pylist()]
    if any(title is not None for title in titles):
        table = table.append_column("title", pa.array(titles, pa.string()))
    write_table(table, path)
    return BatchReport(len(known), len(users) - len(known), table.num_rows)


def _empty_table(user: pa.DataType, item: pa.DataType) -> pa.Table:
    fields = [("user_id", user), ("rank", pa.int32()), ("item_id", item), ("score", pa.float32())]
    return pa.schema(fields).empty_table()
