"""Replays whose process is killed resume to the same figures."""

import shutil
import signal
import sys

import pytest
from fork_server import fork_server
from killed_replay import CONFIG
from replays import figures_of, replay, undisturbed

from perennial.storage.results.cells import read_cells
from perennial.storage.results.runs import read_run
from perennial.storage.store import Store

pytestmark = [
    pytest.mark.usefixtures("with_toys"),
    pytest.mark.campaign,
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL"),
]


KILL_POINTS = [
    ("message", 12),
    ("finished", 5),
    ("after:write_model", 7),
    ("after:insert_cell", 9),
    ("after:insert_run_cell", 4),
    ("before:end_run", 1),
]


def killed(path, point, count, name="CONFIG"):
    """Run a replay in a process of its own; return whether it was killed."""
    ended = fork_server().call("killed_replay:replay_until_killed", str(path), point, count, name)
    assert ended.code in (0, -signal.SIGKILL), ended.stderr
    return ended.code != 0


@pytest.fixture(scope="module")
def wanted(toy_store_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "store.duckdb"
    return undisturbed(toy_store_file, path, CONFIG)


@pytest.mark.parametrize(("point", "count"), KILL_POINTS)
def test_a_killed_run_goes_on_to_the_same_figures(tmp_path, toy_store_file, wanted, point, count):
    path = tmp_path / "store.duckdb"
    shutil.copy(toy_store_file, path)
    assert killed(path, point, count)
    with Store.open(path) as store:
        done = read_cells(store, 1)
        run_id, made = replay(store, CONFIG)
        assert len(made) == 16 - len(done), "what was finished is not made again"
        assert figures_of(store, run_id) == wanted
        assert read_run(store, 1).status == "interrupted"
        files = {path.name for path in store.models_folder.iterdir()}
        rows = store.connection.execute("SELECT file FROM model_files").fetchall()
        assert files == {name for (name,) in rows}


def test_a_run_killed_again_and_again_comes_to_its_end(tmp_path, toy_store_file, wanted):
    path = tmp_path / "store.duckdb"
    shutil.copy(toy_store_file, path)
    attempts = 1
    while killed(path, "after:insert_fit", 6):
        attempts += 1
        assert attempts < 10, "no progress"
    assert attempts == 4, "five new cells each time"
    with Store.open(path) as store:
        assert figures_of(store, read_run(store).run_id) == wanted
