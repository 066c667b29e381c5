"""The paper's split of a log that comes without one: 80/10/10 of each user's items, at random.

As in the authors' code (infinite_ae_cf, `preprocess.py`): of a user's n interactions in random
order the first goes to test, so that everybody is asked about; those up to ⌊0.8n⌋ to train, those
up to ⌊0.9n⌋ to validation, the rest to test. Users with fewer than three are left out. Here an
interaction is a distinct (user, item) pair; theirs are lines, so that a repeated pair may stand in
two parts.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from storage.errors import UserError
from stream.seeds import derive_seed

FEWEST = 3
"""Interactions of a user who is kept."""

_FEWEST_JUDGED = 6
"""Interactions of a user of whom validation gets one: the least n with ⌊0.9n⌋ > ⌊0.8n⌋."""


class Part(IntEnum):
    """Where an interaction goes; the names are those of the `split` column."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    REMOVED = 3


PART_NAMES = tuple(part.name.lower() for part in Part)
"""`split` column of each `Part`."""


def draw_parts(rows: csr_array, seed: int) -> NDArray[np.int8]:
    """Share each row's entries out at random.

    Args:
        rows: `(users, items)` binary without duplicates.
        seed: of the draw.

    Returns:
        A `Part` for each entry, in the order of `rows.indices`. A row of n ≥ 3 entries has
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
        [Part.REMOVED, Part.TEST, Part.TRAIN, Part.VALIDATION],
        Part.TEST,
    )
    parts = np.empty(rows.nnz, dtype=np.int8)
    # `lexsort` keeps rows together, so the k-th of a row stands where the row's k-th entry does.
    parts[order] = drawn
    return parts
