"""The paper's random split of a log, in the form that models and `evaluate` take."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.storage.log.matrices import UserRows
from perennial.stream.evaluation import Evaluation, assemble, binary, pair_matrix
from perennial.stream.seeds import derive_seed

FEWEST = 3
"""Interactions of a user who is kept."""

_FEWEST_JUDGED = 6
"""Interactions of a user of whom validation gets one: the least n with ⌊0.9n⌋ > ⌊0.8n⌋."""


class SplitPart(IntEnum):
    """Where an interaction goes; the names are those of the `split` column."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    REMOVED = 3


PART_NAMES = tuple(part.name.lower() for part in SplitPart)
"""`split` column of each `SplitPart`."""


def draw_parts(rows: csr_array, seed: int) -> NDArray[np.int8]:
    """Share each row's entries out at random.

    Args:
        rows: `(users, items)` binary without duplicates.
        seed: of the draw.

    Returns:
        A `SplitPart` for each entry, in the order of `rows.indices`. A row of n ≥ 3 entries has
        ⌊0.8n⌋ − 1 ≥ 1 of them in train and ⌊0.9n⌋ − ⌊0.8n⌋ in validation.

    Raises:
        UserError: no user has so many that there is something to validate on.
    """
    lengths = np.diff(rows.indptr)
    if not (lengths >= _FEWEST_JUDGED).any():
        raise UserError(
            f"no user of the log has {_FEWEST_JUDGED} different items, so an 80/10/10 split leaves "
            "nothing to validate on; give a longer log"
        )
    luck = np.random.default_rng(derive_seed(seed, "paper split")).random(rows.nnz)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    order = np.lexsort((luck, owner))
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths)
    count = lengths[owner]
    drawn = np.select(
        [count < FEWEST, place == 0, place < 8 * count // 10, place < 9 * count // 10],
        [SplitPart.REMOVED, SplitPart.TEST, SplitPart.TRAIN, SplitPart.VALIDATION],
        SplitPart.TEST,
    )
    parts = np.empty(rows.nnz, dtype=np.int8)
    # `lexsort` keeps rows together, so the k-th of a row stands where the row's k-th entry does.
    parts[order] = drawn
    return parts


_COLUMNS = ("user_id", "item_id", "split")

PARTS = PART_NAMES[:3]
"""What `split` holds in the rows that are used."""


@dataclass(frozen=True)
class RandomSplit:
    """One log, split at random by the paper's authors (design note 5, paper-split studies).

    Attributes:
        train: all users of the log with what they did in `train`.
        validation: context and mask `train`; the users with a validation item.
        test: context and mask `train` and `validation`; the users with a test item. The model is
            not fitted again.
    """

    train: UserRows
    validation: Evaluation
    test: Evaluation


def read_paper_split(
    path: Path, seed: int = 0, num_negatives: int = 50, keep_repeats: bool = False
) -> RandomSplit:
    """Read a Parquet file with the columns `user_id`, `item_id` and `split`.

    Rows whose split is `train`, `validation` or `test` are used; users and items of the file are
    numbered in the order of their identifiers, and all items that are used are known to the model.
    Propensities are counted on `train` alone.

    Args:
        path: the file.
        seed: of the negatives and the order of ties.
        num_negatives: per user, for the pooled AUC.
        keep_repeats: count targets that stand in the context as misses, as the authors do, instead
            of removing them. ML-1M has none, Magazine 287 among 6,145 test items.

    Raises:
        UserError: the file cannot be read, a column is missing or a part is empty.
    """
    users, items, parts = _read(path)
    user_ids, rows = np.unique(users, return_inverse=True)
    item_ids, columns = np.unique(items, return_inverse=True)
    shape = (len(user_ids), len(item_ids))
    matrices = {
        name: pair_matrix(rows[parts == name], columns[parts == name], shape) for name in PARTS
    }
    for name, matrix in matrices.items():
        if matrix.nnz == 0:
            raise UserError(f"{path}: no row's split is '{name}'")
    train = matrices["train"]
    counts = np.bincount(columns[parts == "train"], minlength=shape[1]).astype(np.int64)

    def ask(contexts: csr_array, targets: csr_array) -> Evaluation:
        asked = np.flatnonzero(np.diff(targets.indptr))
        return assemble(
            fit_period=1,
            eval_period=2,
            num_items=shape[1],
            users=asked.astype(np.int32),
            contexts=contexts[asked],
            targets=targets[asked],
            item_counts=counts,
            mask_context=True,
            num_negatives=num_negatives,
            seed=seed,
            skipped_users=shape[0] - len(asked),
            keep_repeats=keep_repeats,
        )

    return RandomSplit(
        train=UserRows(
            users=np.arange(shape[0], dtype=np.int32),
            interactions=train,
            last_period=np.ones(shape[0], dtype=np.int32),
        ),
        validation=ask(train, matrices["validation"]),
        test=ask(binary(train + matrices["validation"]), matrices["test"]),
    )


def has_split(path: Path) -> bool:
    """Whether a file is Parquet and has a column `split`."""
    try:
        return _COLUMNS[2] in pq.read_schema(path).names
    except (OSError, ValueError):
        return False


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.str_]]:
    """Users, items and parts of the rows that are used."""
    try:
        missing = [name for name in _COLUMNS if name not in pq.read_schema(path).names]
        if missing:
            raise UserError(
                f"{path}: cannot be read as a split log: it has no column {', '.join(missing)}"
            )
        table = pq.read_table(path, columns=list(_COLUMNS))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as a split log: {error}") from None
    empty = [name for name in _COLUMNS if table[name].null_count]
    if empty:
        raise UserError(f"{path}: cannot be read as a split log: {empty[0]} has empty cells")
    parts = table["split"].to_numpy().astype(str)
    used = np.isin(parts, PARTS)
    return table["user_id"].to_numpy()[used], table["item_id"].to_numpy()[used], parts[used]
