"""Fits are found by key, and of a chain's files only the newest stays."""

import numpy as np
import pytest

from perennial.storage.results.fits import (
    Fit,
    find_fit,
    insert_fit,
    insert_model_file,
    read_model,
    sweep_model_files,
    write_model,
)
from perennial.storage.store import Store

ARRAYS = {"weights": np.arange(6, dtype=np.float32)}


def keep(store, key, purpose="published", chain="chain"):
    path = write_model(store, key, ARRAYS, {"key": key})
    with store.transaction():
        insert_model_file(store, key, purpose, chain, path)
    return path


def files(store):
    return sorted(path.name for path in store.models_folder.iterdir())


def test_fits_round_trip_and_are_replaced(store):
    for fit in (Fit("key", 2**40, {"reg": 5.0}), Fit("key", None, {})):
        with store.transaction():
            insert_fit(store, fit)
        assert find_fit(store, "key") == fit
    assert find_fit(store, "other") is None


def test_model_round_trip(store):
    keep(store, "a")
    arrays, manifest = read_model(store, "a")
    np.testing.assert_array_equal(arrays["weights"], ARRAYS["weights"])
    assert manifest == {"key": "a"}
    write_model(store, "b", ARRAYS, {})
    assert read_model(store, "b") is None, "no row names it"


def test_the_newest_of_a_chain_is_kept_and_what_another_purpose_needs(store):
    keep(store, "a")
    keep(store, "b")
    keep(store, "c", chain="other")
    keep(store, "d", purpose="warm-start")
    sweep_model_files(store)
    assert read_model(store, "a") is None
    assert all(read_model(store, key) is not None for key in "bcd")
    assert len(files(store)) == 3
    keep(store, "a", purpose="warm-start")
    keep(store, "b")
    sweep_model_files(store)
    assert read_model(store, "a") is not None


def test_only_files_of_a_killed_process_are_removed(store):
    keep(store, "a")
    (store.models_folder / ".fit-b.safetensors.x1").write_bytes(b"half")
    (store.models_folder / "fit-b.safetensors").write_bytes(b"no row")
    (store.models_folder / "summary-1.safetensors").write_bytes(b"another's")
    sweep_model_files(store)
    assert files(store) == ["fit-a.safetensors", "summary-1.safetensors"]


def test_sweeping_without_a_folder(tmp_path):
    with Store.open(tmp_path / "store.duckdb") as store:
        sweep_model_files(store)
        assert not store.models_folder.exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_file_counts_as_lost(store, damage):
    path = keep(store, "a")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if damage == "flip" else data[:-5])
    if damage == "remove":
        path.unlink()
    assert read_model(store, "a") is None
