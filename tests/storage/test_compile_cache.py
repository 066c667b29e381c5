"""Compiled code is kept between commands, within limits; what is damaged only costs time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import REPLAY, call_well

from perennial.replay.study.workers.local import worker_environment
from perennial.storage import compile_cache
from perennial.storage.compile_cache import compile_variables
from perennial.storage.opening import open_for_reading

DIR = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder of the test's own: with compiled code, once there is some."""
    monkeypatch.setattr(compile_cache, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("warnings.filters", [])
    return tmp_path / "cache"


def write_entry(folder: Path, name: str, *, seconds: float, whole: bool) -> Path:
    """Write an entry as JAX does, some seconds ago; the time of last use follows a whole one."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = folder / f"{name}-cache"
    entry.write_bytes(b"code")
    os.utime(entry, (time.time() - seconds,) * 2)
    if whole:
        (folder / f"{name}-atime").write_bytes(bytes(8))
    return entry


def test_the_cache_is_in_the_users_folder_and_bounded(cache):
    made = compile_variables({})
    assert Path(made[DIR]).parent == cache / "compiled"
    assert int(made["JAX_COMPILATION_CACHE_MAX_SIZE"]) == 512 * 2**20
    assert not cache.exists()


def test_workers_share_it(cache):
    assert worker_environment({})[DIR] == compile_variables({})[DIR]


@pytest.mark.parametrize("given", [{"PERENNIAL_COMPILE_CACHE": "off"}, {DIR: "/of/the/user"}])
def test_the_environment_turns_it_off(given, cache):
    assert compile_variables(given) == {}


def test_without_a_folder_there_is_none(cache):
    cache.write_text("a file in its place")
    assert compile_variables({}) == {}


def test_another_version_has_a_folder_of_its_own(cache, monkeypatch):
    first = compile_variables({})[DIR]
    monkeypatch.setattr(compile_cache.importlib.metadata, "version", lambda name: "9.9")
    assert compile_variables({})[DIR] != first


def test_entries_that_were_cut_short_are_deleted(cache):
    folder = Path(compile_variables({})[DIR])
    cut = write_entry(folder, "cut", seconds=3600, whole=False)
    being_written = write_entry(folder, "new", seconds=0, whole=False)
    whole = write_entry(folder, "whole", seconds=3600, whole=True)
    compile_variables({})
    assert [path.exists() for path in (cut, being_written, whole)] == [False, True, True]


@pytest.mark.parametrize(("days", "stays"), [(100, False), (10, True)])
def test_the_folder_of_a_version_that_is_not_used_is_deleted(days, stays, cache):
    folder = Path(compile_variables({})[DIR])
    entry = write_entry(folder, "own", seconds=0, whole=True)
    other = write_entry(folder.with_name("jax-0.1"), "old", seconds=0, whole=True)
    for one in (entry, other):
        os.utime(one.parent, (time.time() - days * 86400,) * 2)
    compile_variables({})
    assert (entry.exists(), other.exists()) == (True, stays)


def test_a_command_clears_it(cache):
    folder = Path(compile_variables({})[DIR])
    write_entry(folder, "one", seconds=0, whole=True)
    data = cache / "synthetic" / "log.parquet"
    data.parent.mkdir()
    data.touch()
    assert call_well("cache", "clear").stdout == "12 bytes of compiled code deleted\n"
    assert (folder.exists(), data.exists()) == (False, True)
    assert call_well("cache", "clear").stdout == "0 bytes of compiled code deleted\n"


def test_it_is_cleared_while_another_process_deletes_and_writes(cache, monkeypatch):
    folder = Path(compile_variables({})[DIR])
    for name in ("one", "two"):
        write_entry(folder, name, seconds=0, whole=False)
    stat = Path.stat

    def delete_and_write(path, **options):
        if path.name == "one-cache":
            path.unlink()
            write_entry(folder, "new", seconds=0, whole=False)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", delete_and_write)
    assert compile_cache.clear_compile_cache() == 4
    assert [path.name for path in folder.iterdir()] == ["new-cache"]


@pytest.mark.slow
def test_a_replay_with_kept_code_has_the_same_figures(log, tmp_path):
    """The second process finds all entries but two, which are damaged, and prints no warning."""
    names = [name for name in os.environ if name.startswith("JAX_") and "CACHE" in name]
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    command = [sys.executable, "-m", "perennial.cli", "replay", str(log), *REPLAY, "--store"]

    def replay(name: str) -> str:
        store = tmp_path / f"{name}.duckdb"
        done = subprocess.run(  # noqa: S603 - our own interpreter and text
            [*command, str(store)], env=environment, capture_output=True, text=True, check=True
        )
        assert "Warning" not in done.stderr
        return figures(store)

    cold = replay("cold")
    uses = {path: path.read_bytes() for path in tmp_path.rglob("*-atime")}
    assert len(uses) > 2
    for path in (damaged := sorted(uses)[:2]):
        path.with_name(path.name.replace("-atime", "-cache")).write_bytes(b"damage")
    assert replay("warm") == cold
    found = {path for path in uses if path.read_bytes() != uses[path]}
    assert found >= set(uses) - set(damaged)


def figures(path: Path) -> str:
    """Figures in a store, those user by user too."""
    with open_for_reading(path) as store:
        rows = store.rows("SELECT * FROM figures ORDER BY ALL")
    assert rows
    return repr(rows)
