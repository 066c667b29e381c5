"""A fitted NeuMF: its scores and its stored arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.neumf.network import NeuMFParameters, score
from perennial.models.scoring import context_blocks
from perennial.models.training.batches import as_batch, pad_rows, without_padding
from perennial.storage.base import Json

ITEM_ARRAYS = frozenset({"factor_users", "factor_items", "tower_users", "tower_items", "item_bias"})
"""Names of the parameters whose first axis is the items'."""

_BLOCK_PAIRS = 1 << 22


@dataclass(frozen=True)
class FittedNeuMF:
    """The averaged weights of a training, ready to score.

    Attributes:
        parameters: padded along the item axis.
        num_items: number of items that are not padding.
        report: the choices of the fit, and its numbers of rows.
    """

    parameters: NeuMFParameters
    num_items: int
    report: Mapping[str, Json]

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute the logits of each item for each context, which need be no training row."""
        step = score_rows(self.num_items, int(self.parameters.first_bias.shape[0]))
        for block in context_blocks(contexts, self.num_items, block_rows):
            scores = np.empty(block.shape, dtype=np.float32)
            for start in range(0, len(scores), step):
                part = scores[start : start + step]
                padded = score(self.parameters, as_batch(block[start : start + step]))
                part[:] = np.asarray(padded)[: len(part), : self.num_items]
            yield scores

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the parameters without padding, and a manifest with the widths and the report."""
        parameters = self.parameters
        manifest = {
            "num_items": self.num_items,
            "factors": int(parameters.factor_output.shape[0]),
            "embedding": int(parameters.user_layer.shape[0]),
            "hidden": int(parameters.first_bias.shape[0]),
            "report": dict(self.report),
        }
        arrays = without_padding(parameters._asdict(), ITEM_ARRAYS, self.num_items)
        return {name: np.array(values) for name, values in arrays.items()}, manifest


def score_rows(num_items: int, hidden: int) -> int:
    """Return the rows scored at a time, a power of two whose first layer takes about 16 MiB."""
    rows = max(1, _BLOCK_PAIRS // max(1, num_items * hidden))
    return pad_rows(1 << (rows.bit_length() - 1))
