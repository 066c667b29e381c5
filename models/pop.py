"""PopRec: recommend what most users have, the same to everyone."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows, cap_rows
from perennial.models.scoring import context_blocks
from perennial.storage.base import Json, derive_seed
from perennial.storage.errors import UserError


@dataclass(frozen=True)
class FittedPop:
    """A count per item, `(num_items,)` float32: the weight of the rows that have the item."""

    counts: NDArray[np.float32]
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.counts)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Return the counts for each context, as a read-only view."""
        for block in context_blocks(contexts, self.num_items, block_rows):
            yield np.broadcast_to(self.counts, block.shape)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the counts."""
        return {"counts": self.counts}, {"report": dict(self.report)}


@dataclass(frozen=True)
class Pop:
    """The recipe of PopRec, which has no settings."""

    name: ClassVar[str] = "pop"
    starts_warm: ClassVar[bool] = False
    can_teach: ClassVar[bool] = False
    draws_at_random: ClassVar[bool] = False

    @property
    def settings(self) -> Mapping[str, Json]:
        """An empty mapping."""
        return {}

    def fit(self, rows: TrainingRows, options: FitOptions) -> FittedPop:
        """Count the rows that the cap lets through."""
        kept = cap_rows(rows, options.max_rows, derive_seed(options.seed, "row cap"))
        model = self._count(kept)
        return dataclasses.replace(model, report={**model.report, "rows_given": rows.num_rows})

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedPop:
        """Count `rows`; there is nothing to choose."""
        return self._count(rows)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedPop:
        """Restore the model that `FittedPop.to_arrays` was called on."""
        try:
            counts = np.asarray(arrays["counts"], dtype=np.float32)
            if counts.ndim != 1 or not np.isfinite(counts).all():
                raise ValueError("the counts are no list of numbers")
            return FittedPop(counts, dict(manifest["report"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"pop: the stored model is damaged ({error}); fit it again") from None

    def _count(self, rows: TrainingRows) -> FittedPop:
        # Summed in double precision: weights may be small and rows many.
        counts = rows.interactions.T.astype(np.float64) @ rows.weights
        return FittedPop(counts.astype(np.float32), {"rows_used": rows.num_rows})
