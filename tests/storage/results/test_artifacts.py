"""Artifact files come back as they were saved, and damage is noticed."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import random_array

from perennial.storage.atomic import sweep_temporary
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import (
    SUFFIX,
    csr_from_arrays,
    csr_to_arrays,
    load_arrays,
    save_arrays,
)

DTYPES = st.sampled_from(
    ["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"]
)
ARRAYS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))),
    max_size=4,
).filter(lambda arrays: "__metadata__" not in arrays)


@given(arrays=ARRAYS, note=st.text())
@settings(max_examples=50)
def test_arrays_and_manifest_come_back(tmp_path_factory, arrays, note):
    folder = tmp_path_factory.mktemp("artifacts")
    path = save_arrays(folder, "model", arrays, {"note": note, "reg": 0.5})
    loaded, manifest = load_arrays(path)
    assert manifest == {"note": note, "reg": 0.5}
    assert loaded.keys() == arrays.keys()
    for key, array in arrays.items():
        assert loaded[key].dtype == array.dtype
        np.testing.assert_array_equal(loaded[key], array, strict=True)


def test_strided_and_big_endian_arrays_keep_their_values(tmp_path):
    grid = np.arange(12.0).reshape(3, 4)
    arrays = {"t": grid.T, "s": grid[::2, ::3], "b": grid.astype(">f8")}
    loaded, _ = load_arrays(save_arrays(tmp_path, "m", arrays, {}))
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_saving_again_replaces_and_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    save_arrays(tmp_path, "m", {"x": np.zeros(3)}, {"turn": 1})
    path = save_arrays(tmp_path, "m", {"x": np.ones(2)}, {"turn": 2})

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="No space left"):
        save_arrays(tmp_path, "m", {"x": np.ones(3)}, {"turn": 3})
    monkeypatch.undo()
    loaded, manifest = load_arrays(path)
    assert manifest == {"turn": 2}
    np.testing.assert_array_equal(loaded["x"], np.ones(2))
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("place", [0, 9, 60, -1])
def test_a_flipped_bit_is_noticed(tmp_path, place):
    path = save_arrays(tmp_path, "m", {"x": np.arange(100.0)}, {"turn": 1})
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"m\.safetensors"):
        load_arrays(path)


@pytest.mark.parametrize("length", [0, 4, 40, -8])
def test_a_cut_or_missing_file_is_noticed(tmp_path, length):
    path = save_arrays(tmp_path, "m", {"x": np.arange(100.0)}, {"turn": 1})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match="damaged"):
        load_arrays(path)
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        load_arrays(path)


@pytest.mark.parametrize("name", ["../m", "a/b", ".hidden", ""])
def test_names_stay_in_the_folder_and_objects_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="plain file name"):
        save_arrays(tmp_path / "inner", name, {}, {})
    with pytest.raises(ValueError, match="not numbers"):
        save_arrays(tmp_path, "m", {"x": np.array([object()])}, {})


@pytest.mark.parametrize("binary", [False, True])
def test_a_sparse_matrix_is_rebuilt_and_checked(binary):
    rows = random_array((5, 7), density=0.4, format="csr", dtype=np.float32, rng=0)
    rows.data = np.ones_like(rows.data) if binary else rows.data
    arrays = csr_to_arrays(rows, binary=binary)
    assert ("values" in arrays) is not binary
    again = csr_from_arrays(arrays, 7, binary=binary)
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again.toarray(), rows.toarray())
    with pytest.raises(ValueError, match="indices"):
        csr_from_arrays(arrays, 3, binary=binary)
    with pytest.raises(KeyError):
        csr_from_arrays({"items": arrays["items"]}, 7, binary=True)


def test_files_of_a_killed_writer_are_removed(tmp_path):
    kept = save_arrays(tmp_path, "model", {"a": np.ones(2)}, {})
    (tmp_path / f".{kept.name}.4711").write_bytes(b"half")
    sweep_temporary(tmp_path, SUFFIX)
    assert list(tmp_path.iterdir()) == [kept]
    sweep_temporary(tmp_path / "none", SUFFIX)
