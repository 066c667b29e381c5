"""First weights of a training of MVAE: random ones, or those of the period before."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.mvae.model import ITEM_ARRAYS, FittedMVAE, pad_parameters
from perennial.models.mvae.network import MVAEParameters, initialise
from perennial.models.training.batches import make_key, pad_items


def log_popularity(interactions: csr_array, weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute the centred log `(num_items,)` of each item's smoothed share of the interactions.

    As the bias of the output layer it makes the first softmax the popularity, which the bias could
    only reach slowly, by steps no larger than the learning rate.

    Args:
        interactions: `(num_rows, num_items)`.
        weights: `(num_rows,)`.
    """
    counts = np.asarray(interactions.T @ weights, dtype=np.float64)
    bias = np.log1p(counts)
    return (bias - bias.mean() if len(bias) else bias).astype(np.float32)


def fresh_weights(
    interactions: csr_array, weights: NDArray[np.float64], *, hidden: int, latent: int, seed: int
) -> MVAEParameters:
    """Draw random weights, with the items' popularity as their bias.

    Args:
        interactions: `(num_rows, num_items)`, the training rows.
        weights: `(num_rows,)`.
        hidden: units of the hidden layers.
        latent: width of the latent space.
        seed: seed of the draw.
    """
    num_items = interactions.shape[1]
    num_padded = pad_items(num_items)
    bias = np.pad(log_popularity(interactions, weights), (0, num_padded - num_items))
    parameters: MVAEParameters = initialise(
        make_key(seed),
        bias,
        np.int32(num_items),
        num_padded=num_padded,
        hidden=hidden,
        latent=latent,
    )
    return parameters


def warm_weights(previous: FittedMVAE, fresh: MVAEParameters, num_items: int) -> MVAEParameters:
    """Return the previous model's weights, and fresh ones for the items that are new.

    Args:
        previous: model of the first `previous.num_items` items.
        fresh: weights for all `num_items`.
        num_items: ≥ `previous.num_items`.
    """
    num_known = previous.num_items
    arrays = previous.item_arrays()
    for name in ITEM_ARRAYS:
        new = np.asarray(getattr(fresh, name))[:num_items].copy()
        if name == "item_bias" and num_known:
            # A bias means something only relative to the others: bring the new ones to the level
            # that training has given to the old ones.
            new += (arrays[name] - new[:num_known]).mean()
        new[:num_known] = arrays[name]
        arrays[name] = new
    return pad_parameters(arrays, num_items)
