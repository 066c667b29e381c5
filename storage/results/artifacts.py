"""Arrays and a manifest in one safetensors file: written atomically, verified when read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from perennial.storage.atomic import write_synced
from perennial.storage.base import Json
from perennial.storage.errors import StorageUnavailable, UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SUFFIX = ".safetensors"


def models_folder(store: Path) -> Path:
    """Return the folder of a store's model files: `<store>.models` next to the store."""
    return store.with_name(store.name + ".models")


def save_arrays(
    folder: Path, name: str, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
) -> Path:
    """Write arrays and a manifest to `<folder>/<name>.safetensors`, replacing an older file.

    The arrays are booleans or numbers of any shape, the manifest any JSON values. The folder is
    created if absent.

    Raises:
        ValueError: the name has a folder in it, or an array does not hold numbers.
        StorageUnavailable: the file cannot be written.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(f"{name!r} is no plain file name")
    plain = {key: _plain(key, array) for key, array in arrays.items()}
    text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    data = safetensors.numpy.save(plain, {"manifest": text, "sha256": _checksum(plain, text)})
    path = folder / f"{name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_synced(path, data)
    except OSError as error:
        raise StorageUnavailable(
            f"{path}: cannot be written ({error.strerror}); check the disk"
        ) from error
    return path


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
    """Read arrays and manifest of `save_arrays`; `UserError` if the file is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        manifest = json.loads(metadata["manifest"])
        intact = metadata["sha256"] == _checksum(arrays, metadata["manifest"])
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; fit the model again") from error
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged or not written by perennial; delete it") from error
    if not intact:
        raise UserError(f"{path}: damaged, its checksum does not match; delete it")
    return arrays, manifest


def csr_to_arrays(rows: "csr_array", *, binary: bool = False) -> dict[str, NDArray[Any]]:
    """Split a sparse matrix `(n, d)` into the arrays that are stored of it.

    They are `offsets` `(n + 1,)` int32, `items` `(nnz,)` int32 and `values` `(nnz,)` float32;
    `binary` leaves out the values, which are all 1.
    """
    arrays: dict[str, NDArray[Any]] = {
        "offsets": rows.indptr.astype(np.int32),
        "items": rows.indices.astype(np.int32),
    }
    if not binary:
        arrays["values"] = rows.data.astype(np.float32)
    return arrays


def csr_from_arrays(
    arrays: Mapping[str, NDArray[Any]], num_items: int, *, binary: bool = False
) -> "csr_array":
    """Rebuild and check the `(n, d)` float32 matrix that `csr_to_arrays` took apart.

    Raises:
        KeyError: an array is missing.
        ValueError: the arrays contradict each other or the width.
    """
    from scipy.sparse import csr_array

    items = np.asarray(arrays["items"], np.int32)
    values = np.ones(len(items)) if binary else arrays["values"]
    offsets = np.asarray(arrays["offsets"], np.int32)
    rows = csr_array(
        (np.asarray(values, np.float32), items, offsets), shape=(len(offsets) - 1, num_items)
    )
    rows.check_format(full_check=True)
    return rows


def _plain(key: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"array {key!r} holds {array.dtype}, not numbers")
    # safetensors takes the buffer as it lies: it must be in row order and little-endian.
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _checksum(arrays: Mapping[str, NDArray[Any]], manifest: str) -> str:
    digest = hashlib.sha256(manifest.encode())
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(f"\x1f{key}\x1f{array.dtype.str}\x1f{array.shape}\x1f".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
