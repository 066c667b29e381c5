"""A fitted MVAE: its scores and its stored arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mvae.network import MVAEParameters, represent, score
from perennial.models.scoring import context_blocks
from perennial.models.training.batches import as_batch, with_padding, without_padding
from perennial.storage.base import Json

ITEM_ARRAYS = frozenset({"encoder_items", "decoder_items", "item_bias"})
"""Names of the parameters whose first axis is the items'."""


@dataclass(frozen=True)
class FittedMVAE:
    """The averaged weights of a training, ready to score.

    Attributes:
        parameters: padded along the item axis.
        num_items: number of items that are not padding.
        gather: True if the first layer gathers, see `perennial.models.mvae.network.project`.
        report: the choices of the fit, and its numbers of rows.
    """

    parameters: MVAEParameters
    num_items: int
    gather: bool
    report: Mapping[str, Json]

    @property
    def hidden(self) -> int:
        """Units of the hidden layers."""
        return int(self.parameters.encoder_bias.shape[0])

    @property
    def latent(self) -> int:
        """Width of the latent space."""
        return int(self.parameters.decoder_weights.shape[0])

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute the log-probability of each item for each context, at its mean latent vector."""
        num_items = np.int32(self.num_items)
        for block in context_blocks(contexts, self.num_items, block_rows):
            padded = score(self.parameters, as_batch(block), num_items, gather=self.gather)
            yield np.ascontiguousarray(np.asarray(padded)[: block.shape[0], : self.num_items])

    def similarity(self, rows: csr_array) -> NDArray[np.float64]:
        """Compute the cosines of the rows' mean latent vectors, see `Teacher.similarity`."""
        padded = represent(self.parameters, as_batch(rows), gather=self.gather)
        means = np.asarray(padded, np.float64)
        means = means[: rows.shape[0]]
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        unit = np.divide(means, lengths, out=np.zeros_like(means), where=lengths > 0)
        gram: NDArray[np.float64] = unit @ unit.T
        return gram

    def item_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return all parameters by name, without the padding."""
        return without_padding(self.parameters._asdict(), ITEM_ARRAYS, self.num_items)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the parameters without padding, and a manifest with the widths and the report."""
        manifest = {
            "num_items": self.num_items,
            "hidden": self.hidden,
            "latent": self.latent,
            "gather": self.gather,
            "report": dict(self.report),
        }
        return {name: np.array(values) for name, values in self.item_arrays().items()}, manifest


def pad_parameters(arrays: Mapping[str, NDArray[Any]], num_items: int) -> MVAEParameters:
    """Put unpadded arrays on the device, with zeros for the items that are padding."""
    return MVAEParameters(**with_padding(arrays, ITEM_ARRAYS, num_items))
