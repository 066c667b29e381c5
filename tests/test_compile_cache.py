"""A run reuses what earlier runs compiled, except entries cut short by a killed process."""

import os
import sys
import zlib
from pathlib import Path

import compile_cache
import pytest


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Start a run in a folder of its own; the function that ends it."""
    monkeypatch.setattr(compile_cache, "cache_folder", lambda: tmp_path / "perennial")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return compile_cache.use_kept_code


def entries(folder: Path) -> set[str]:
    return {path.name for path in (folder / "jax").iterdir()}


def test_whole_entries_are_kept(run, tmp_path):
    end = run(tmp_path / "first")
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "first" / "jax")
    data = zlib.compress(os.urandom(1000))
    for name, content in (("whole", data), ("cut", data[:-9]), ("empty", b"")):
        (tmp_path / "first" / "jax" / f"{name}-cache").write_bytes(content)
    end()
    run(tmp_path / "second")
    assert entries(tmp_path / "second") == {"whole-cache"}
    assert (tmp_path / "second" / "jax" / "whole-cache").read_bytes() == data


def test_the_oldest_entries_go_beyond_the_limit(run, tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 2500)
    for number in range(3):
        end = run(tmp_path / str(number))
        entry = tmp_path / str(number) / "jax" / f"{number}-cache"
        entry.write_bytes(zlib.compress(os.urandom(1000)))
        end()
        (kept,) = tmp_path.glob(f"perennial/tests/*/jax/{number}-cache")
        os.utime(kept, (number, number))
    run(tmp_path / "last")
    assert entries(tmp_path / "last") == {"1-cache", "2-cache"}


def test_bytecode_is_shared_where_it_is_not_written_otherwise(run, tmp_path, monkeypatch):
    run(tmp_path / "first")
    shared = os.environ["PYTHONPYCACHEPREFIX"]
    assert sys.pycache_prefix == shared
    assert os.environ["PYTHONDONTWRITEBYTECODE"] == ""
    assert not sys.dont_write_bytecode
    monkeypatch.delitem(os.environ, "PYTHONPYCACHEPREFIX")
    run(tmp_path / "second")
    assert "PYTHONPYCACHEPREFIX" not in os.environ
