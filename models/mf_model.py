"""A fitted matrix factorisation: scores, and the arrays it is kept as."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.mf_solving import Objective, solve_rows
from models.protocol import Json
from storage.errors import UserError


@dataclass(frozen=True)
class FittedMF:
    """The items' vectors; those of users follow from their rows.

    Attributes:
        items: `(num_items, dimension)` float32.
        objective: what they were fitted to.
        report: what was chosen, which rows were used.
    """

    items: NDArray[np.float32]
    objective: Objective
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """Items that have a vector."""
        return len(self.items)

    def fold_in(self, contexts: csr_array) -> NDArray[np.float32]:
        """The best vector of each row for these items, exactly as a sweep solves for a user.

        Args:
            contexts: `(n, num_items)` float32, values in (0, 1].

        Returns:
            `(n, dimension)` float32; zero for an empty row.
        """
        return solve_rows(contexts, self.items, np.ones(self.num_items), self.objective)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """⟨w_u, h_i⟩, with w_u of the context: nobody has to be known. An empty row scores 0.

        Raises:
            ValueError: the contexts have another number of items.
        """
        if contexts.shape[1] != self.num_items:
            raise ValueError(f"contexts of {contexts.shape[1]} items, model of {self.num_items}")
        for start in range(0, contexts.shape[0], block_rows):
            yield self.fold_in(contexts[start : start + block_rows]) @ self.items.T

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """The items' vectors; the objective and the report in the manifest."""
        manifest = {"objective": dataclasses.asdict(self.objective), "report": dict(self.report)}
        return {"items": self.items}, manifest


def restore_model(arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]) -> FittedMF:
    """Make a model again from what `FittedMF.to_arrays` gave.

    Raises:
        UserError: what was stored is not such a model.
    """
    try:
        items = arrays["items"]
        objective = Objective(**{key: float(v) for key, v in manifest["objective"].items()})
        if items.ndim != 2 or items.dtype != np.float32 or not np.isfinite(items).all():
            raise ValueError("the vectors are no float32 matrix")
        if not (0 < objective.unobserved < np.inf and 0 < objective.reg < np.inf):
            raise ValueError("a setting is out of range")
        return FittedMF(items, objective, dict(manifest["report"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"mf: the stored model is damaged ({error}); fit it again") from None
