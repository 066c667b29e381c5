"""Arrays and a manifest in one file: written whole or not at all, checked when read."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from perennial.storage.access import sync_folder
from perennial.storage.errors import StorageUnavailable, UserError

SUFFIX = ".safetensors"


def models_folder(store: Path) -> Path:
    """Where the files of a store's models lie: `<store>.models` beside it."""
    return store.with_name(store.name + ".models")


def save_arrays(
    folder: Path, name: str, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]
) -> Path:
    """Write arrays and a manifest to `<folder>/<name>.safetensors`, replacing what was there.

    The file is written under another name, synced and renamed, and the folder synced: after a crash
    the old file, the new one or none is there, never a part.

    Args:
        folder: made where absent.
        name: of the file, without folder or suffix.
        arrays: of booleans or numbers.
        manifest: what `json.dumps` takes.

    Raises:
        ValueError: the name has a folder in it, or an array holds something else than numbers.
        StoreFault: the file cannot be written.
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


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `save_arrays` wrote.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
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


def write_synced(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, synced, replacing what was there.

    Raises:
        OSError: the disk refuses it; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sweep_unfinished(folder: Path) -> None:
    """Remove what writers that were killed had not renamed yet; nobody may be writing."""
    for left in folder.glob(f".*{SUFFIX}.*"):
        left.unlink(missing_ok=True)


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
