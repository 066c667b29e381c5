"""Columns of lists, between Arrow and NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def list_column(
    arrays: Sequence[NDArray[np.float32] | NDArray[np.int32] | None], kind: pa.DataType
) -> pa.ListArray:
    """One list per row, of values of a kind; a null for each `None`."""
    lengths = [0 if array is None else len(array) for array in arrays]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    parts = [array for array in arrays if array is not None]
    values = np.concatenate(parts) if parts else np.empty(0)
    missing = pa.array([array is None for array in arrays], pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind), mask=missing)


def lists_of(table: pa.Table, column: str) -> list[Any]:
    """The lists of a column as NumPy arrays, `None` for a null."""
    return [
        row.values.to_numpy(zero_copy_only=False) if row.is_valid else None
        for chunk in table.column(column).chunks
        for row in chunk
    ]
