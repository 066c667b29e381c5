"""The row cap that all models take alike."""

import numpy as np

from models.protocol import TrainingRows


def cap_rows(rows: TrainingRows, max_rows: int | None, seed: int) -> TrainingRows:
    """Keep the most recent rows, drawing by seed among those of the oldest period that is kept.

    What a memory replays is older than all else, and would be the first to go: it has a half of
    the places, and more where real rows leave some.

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
    is_replayed = rows.replayed[newest_first]
    replayed, real = newest_first[is_replayed], newest_first[~is_replayed]
    replayed = replayed[: max(max_rows // 2, max_rows - len(real))]
    kept = np.concatenate([replayed, real[: max_rows - len(replayed)]])
    return rows.take(np.sort(kept))
