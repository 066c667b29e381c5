"""The row cap that all models take alike."""

import numpy as np

from models.protocol import TrainingRows


def cap_rows(rows: TrainingRows, max_rows: int | None, seed: int) -> TrainingRows:
    """Keep the most recent rows, drawing by seed among those of the oldest period that is kept.

    Args:
        rows: what was given.
        max_rows: how many to keep at most, ≥ 1; `None` keeps all.
        seed: of the draw.

    Returns:
        `rows` itself if nothing is dropped, else the kept ones in the order they stood in.
    """
    if max_rows is None or rows.num_rows <= max_rows:
        return rows
    luck = np.random.default_rng(seed).random(rows.num_rows)
    newest_first = np.lexsort((luck, -rows.last_period.astype(np.int64)))
    kept = np.sort(newest_first[:max_rows])
    return rows.take(kept)
