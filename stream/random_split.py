"""The random 80/10/10 split of a log that the paper's studies use: drawing it and reading it."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.storage.base import derive_seed
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import UserRows
from perennial.stream.evaluation import Evaluation, assemble, binary, pair_matrix

FEWEST = 3
"""Least number of interactions of a user who is kept."""

_FEWEST_VALIDATED = 6
"""Least number n of interactions of which validation gets one: ⌊0.9n⌋ > ⌊0.8n⌋."""


class SplitPart(IntEnum):
    """Part of the split; the names are those of the `split` column."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    REMOVED = 3


PART_NAMES = tuple(part.name.lower() for part in SplitPart)
"""Value of the `split` column for each `SplitPart`."""

PARTS = PART_NAMES[:3]
"""Values of the `split` column in the rows that are used."""

_COLUMNS = ("user_id", "item_id", "split")


@dataclass(frozen=True)
class RandomSplit:
    """One log split at random as by the paper's authors (design note 5, paper-split studies).

    Attributes:
        train: all users of the log with their interactions in `train`.
        validation: contexts are `train`, which is masked; users with a validation item.
        test: contexts are `train` and `validation`, which are masked; users with a test item. The
            model is not fitted again.
    """

    train: UserRows
    validation: Evaluation
    test: Evaluation


def draw_parts(rows: csr_array, seed: int) -> NDArray[np.int8]:
    """Assign each entry of rows `(users, items)`, binary without duplicates, to a part at random.

    Returns:
        `(nnz,)` int8, a `SplitPart` for each entry in the order of `rows.indices`. A row of n ≥ 3
        entries has ⌊0.8n⌋ − 1 ≥ 1 of them in train and ⌊0.9n⌋ − ⌊0.8n⌋ in validation.

    Raises:
        UserError: no user has enough interactions for validation.
    """
    lengths = np.diff(rows.indptr)
    if not (lengths >= _FEWEST_VALIDATED).any():
        raise UserError(
            f"no user of the log has {_FEWEST_VALIDATED} different items, so an 80/10/10 split "
            "leaves nothing to validate on; give a longer log"
        )
    keys = np.random.default_rng(derive_seed(seed, "paper split")).random(rows.nnz)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    order = np.lexsort((keys, owner))
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths)
    count = lengths[owner]
    drawn = np.select(
        [count < FEWEST, place == 0, place < 8 * count // 10, place < 9 * count // 10],
        [SplitPart.REMOVED, SplitPart.TEST, SplitPart.TRAIN, SplitPart.VALIDATION],
        SplitPart.TEST,
    )
    parts = np.empty(rows.nnz, dtype=np.int8)
    # `lexsort` keeps rows together: the k-th entry of a row in `order` is one of the same row.
    parts[order] = drawn
    return parts


def read_paper_split(
    path: Path, seed: int = 0, num_negatives: int = 50, keep_repeats: bool = False
) -> RandomSplit:
    """Read a Parquet file with the columns `user_id`, `item_id` and `split`.

    Rows whose split is `train`, `validation` or `test` are used. Users and items are numbered in
    the order of their identifiers, and the model has all items that are used. Propensities are
    counted on `train` alone.

    With `keep_repeats` targets that are in the context count as misses, as the authors do, instead
    of being removed. ML-1M has none, Magazine 287 among 6,145 test items.

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

    def evaluation(contexts: csr_array, targets: csr_array) -> Evaluation:
        with_targets = np.flatnonzero(np.diff(targets.indptr))
        return assemble(
            fit_period=1,
            eval_period=2,
            num_items=shape[1],
            users=with_targets.astype(np.int32),
            contexts=contexts[with_targets],
            targets=targets[with_targets],
            item_counts=counts,
            mask_context=True,
            num_negatives=num_negatives,
            seed=seed,
            skipped_users=shape[0] - len(with_targets),
            keep_repeats=keep_repeats,
        )

    return RandomSplit(
        train=UserRows(
            users=np.arange(shape[0], dtype=np.int32),
            interactions=train,
            last_period=np.ones(shape[0], dtype=np.int32),
        ),
        validation=evaluation(train, matrices["validation"]),
        test=evaluation(binary(train + matrices["validation"]), matrices["test"]),
    )


def has_split(path: Path) -> bool:
    """Return True for a Parquet file with a column `split`."""
    try:
        return _COLUMNS[2] in pq.read_schema(path).names
    except (OSError, ValueError):
        return False


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.str_]]:
    """Read users, items and parts of the rows that are used, `(n,)` each."""
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
