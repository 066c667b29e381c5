"""Parameters of a network as stored arrays: without the padding of the item axis, and checked."""

from collections.abc import Collection, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from perennial.models.training.batches import pad_items
from perennial.storage.errors import UserError


def without_padding(
    parameters: Mapping[str, Array], item_arrays: Collection[str], num_items: int
) -> dict[str, NDArray[np.float32]]:
    """Return parameters by name, cut to `num_items` along the item axis.

    Args:
        parameters: the padded arrays by name.
        item_arrays: names of those whose first axis is the items'.
        num_items: number of items that are not padding.
    """
    return {
        name: np.asarray(values)[:num_items] if name in item_arrays else np.asarray(values)
        for name, values in parameters.items()
    }


def with_padding(
    arrays: Mapping[str, NDArray[Any]], item_arrays: Collection[str], num_items: int
) -> dict[str, Array]:
    """Put arrays on the device, with zeros for the items that are padding; see above."""
    extra = pad_items(num_items) - num_items
    return {
        name: jnp.asarray(
            np.pad(values, [(0, extra)] + [(0, 0)] * (values.ndim - 1))
            if name in item_arrays
            else values
        )
        for name, values in arrays.items()
    }


def check_stored(
    model: str, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """Return the stored arrays with these names.

    Raises:
        UserError: one is missing, or is not float32 of its shape.
    """
    for name, shape in shapes.items():
        values = arrays.get(name)
        if values is None or values.shape != shape or values.dtype != np.float32:
            raise UserError(
                f"the saved {model} has no float32 array '{name}' of shape {shape}; "
                "fit the model again"
            )
    return {name: arrays[name] for name in shapes}
