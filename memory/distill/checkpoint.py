"""A distillation in progress in one file, to resume from after an interruption."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.distill.step import StepState
from perennial.memory.distill.validation import BestSupport
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import (
    csr_from_arrays,
    csr_to_arrays,
    load_arrays,
    save_arrays,
)


def save_progress(
    path: Path, fingerprint: str, state: StepState, best: BestSupport, step: int, worse: int
) -> None:
    """Write everything that the next steps follow from; the file is replaced as a whole."""
    leaves = jax.tree.leaves(_plain(state))
    arrays = {f"state{place}": np.asarray(leaf) for place, leaf in enumerate(leaves)}
    save_arrays_and_best(path, fingerprint, arrays, best, step, worse)


def load_progress(
    path: Path, fingerprint: str, like: StepState
) -> tuple[StepState, BestSupport, int, int] | None:
    """Read state, best, step and worse; `None` without an undamaged checkpoint of the problem."""
    loaded = load_arrays_and_best(path, fingerprint)
    if loaded is None:
        return None
    arrays, best, step, worse = loaded
    plain = _plain(like)
    count = len(jax.tree.leaves(plain))
    leaves = [jnp.asarray(arrays[f"state{place}"]) for place in range(count)]
    restored = jax.tree.unflatten(jax.tree.structure(plain), leaves)
    state = restored._replace(key=jax.random.wrap_key_data(restored.key))
    return state, best, step, worse


def save_arrays_and_best(
    path: Path,
    fingerprint: str,
    arrays: Mapping[str, NDArray[Any]],
    best: BestSupport,
    step: int,
    worse: int,
) -> None:
    """Write a checkpoint of a state that is given as arrays; see `save_progress`."""
    numbers = {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in vars(best).items()
        if name != "support"
    }
    manifest: dict[str, Any] = {"task": fingerprint, "step": step, "worse": worse, "best": numbers}
    support = best.support
    if isinstance(support, csr_array):
        manifest["shape"] = list(support.shape)
        parts = csr_to_arrays(support)
    else:
        parts = {"best": support}
    save_arrays(path.parent, path.stem, {**arrays, **parts}, manifest)


def load_arrays_and_best(
    path: Path, fingerprint: str
) -> tuple[dict[str, NDArray[Any]], BestSupport, int, int] | None:
    """Read what `save_arrays_and_best` wrote; see `load_progress`."""
    if not path.is_file():
        return None
    try:
        arrays, manifest = load_arrays(path)
    except UserError:
        return None
    if manifest.get("task") != fingerprint:
        return None
    numbers: dict[str, Any] = {
        name: float("nan") if value is None else value for name, value in manifest["best"].items()
    }
    support: NDArray[np.float32] | csr_array
    if "shape" in manifest:
        support = csr_from_arrays(arrays, manifest["shape"][1])
    else:
        support = arrays["best"]
    return arrays, BestSupport(support=support, **numbers), manifest["step"], manifest["worse"]


def _plain(state: StepState) -> StepState:
    """Return the state with its key as numbers."""
    return state._replace(key=jax.random.key_data(state.key))
