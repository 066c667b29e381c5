"""The targets of a distillation as coefficients of the users' rows, see `memory.guide`."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from memory.guide import Guide
from memory.item_blocks import Floats, ItemBlocks
from storage.parallel import run_all

_LANDMARKS = 128
"""Columns of Q whose combination over all items exists at a time in a thread."""

_USERS = 4096


class FactoredTargets:
    """T = F Qᵀ X + c X, never made whole.

    Args:
        guide: of the users.
        blocks: their rows X.
    """

    def __init__(self, guide: Guide, blocks: ItemBlocks) -> None:
        self._guide = guide
        self._blocks = blocks
        self._scaled = guide.scaled

    def squares(self) -> NDArray[np.float64]:
        """|t|² of all users, `(n,)`.

        With D = X Xᵀ Q it is F Qᵀ D Fᵀ + 2 c F Dᵀ + c² |x|², user by user.
        """
        scaled, rows = self._scaled, self._blocks.rows
        starts = range(0, scaled.shape[1], _LANDMARKS)
        by_item = rows.T.tocsr()

        def spread(start: int) -> Floats:
            piece = np.ascontiguousarray(scaled[:, start : start + _LANDMARKS])
            found: Floats = rows @ (by_item @ piece)
            return found

        parts = run_all([partial(spread, start) for start in starts])
        spreads = np.concatenate(parts, axis=1) if parts else scaled
        middle = (scaled.T @ spreads).astype(np.float64)
        own_squares = np.asarray((rows**2).sum(axis=1), dtype=np.float64).ravel()
        found = np.empty(rows.shape[0])
        for start in range(0, rows.shape[0], _USERS):
            users = np.arange(start, min(start + _USERS, rows.shape[0]))
            factors, own = self._guide.factors(users)
            factors, own = factors.astype(np.float64), own.astype(np.float64)
            crossed = (factors * spreads[users]).sum(axis=1)
            squared = ((factors @ middle) * factors).sum(axis=1)
            found[users] = squared + 2 * own * crossed + own**2 * own_squares[users]
        return np.maximum(found, 0)

    def inner(self, users: NDArray[np.int64], similar: Floats) -> Floats:
        """Inner products of some users' targets with others.

        Args:
            users: `(u,)` row numbers.
            similar: `(n, m)` inner products of all rows with the others.

        Returns:
            `(u, m)`.
        """
        factors, own = self._guide.factors(users)
        products: Floats = factors @ (self._scaled.T @ similar) + own[:, None] * similar[users]
        return products

    def coefficients(self, users: NDArray[np.int64], slopes: Floats) -> Floats:
        """Coefficients of all rows in combinations of some users' targets.

        Args:
            users: `(u,)` row numbers, none twice.
            slopes: `(u, m)`, a column for each combination.

        Returns:
            `(n, m)`, to be combined by `ItemBlocks`.
        """
        factors, own = self._guide.factors(users)
        found: Floats = self._scaled @ (factors.T @ slopes)
        found[users] += own[:, None] * slopes
        return found
