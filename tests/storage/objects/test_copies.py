"""Copies of objects are here while they are read, and only then."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from object_storage import BUCKET

from perennial.storage.errors import StorageUnavailable, UserError
from perennial.storage.objects.bucket import RemotePath
from perennial.storage.objects.copies import local_copies, local_folder, sweep_copies
from perennial.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def places(object_storage):
    addresses = [object_storage.put(key, key.encode()) for key in ("a/day.csv", "b/day.csv")]
    return [RemotePath.parse(address) for address in addresses]


def test_copies_keep_their_names_and_go(places, tmp_path):
    here = tmp_path / "here.csv"
    with local_copies([places[0], here, places[1]], tmp_path) as paths:
        assert paths[1] == here
        assert [path.name for path in paths] == ["day.csv", "here.csv", "day.csv"]
        assert [paths[number].read_text() for number in (0, 2)] == ["a/day.csv", "b/day.csv"]
        assert all(tmp_path in path.parents for path in paths)
    with local_copies(places, tmp_path) as first, local_copies(places, tmp_path) as second:
        sweep_copies(tmp_path)
        assert all(path.exists() for path in (*first, *second)), "they are in use"
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_here_stay_where_they_are(tmp_path):
    with local_copies([tmp_path / "x"], tmp_path / "nowhere") as paths:
        assert paths == (tmp_path / "x",)
        assert list(tmp_path.iterdir()) == []


def test_errors_tell_the_address_and_copies_go(places, tmp_path):
    with (
        pytest.raises(StorageUnavailable, match=r"^s3://logs/b/day\.csv: bad$"),
        local_copies(places, tmp_path) as paths,
    ):
        raise StorageUnavailable(f"{paths[1]}: bad")
    folder = local_copies([RemotePath.parse(f"s3://{BUCKET}/a")], tmp_path)
    with pytest.raises(UserError, match=r"s3://logs/a: is a folder; name the objects in it"):
        folder.__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_copied_under_its_name(places, tmp_path):
    folder = RemotePath.parse(f"s3://{BUCKET}/a")
    with local_folder(folder, ["day.csv"], tmp_path / "not" / "there") as copies:
        assert copies.name == "a"
        assert (copies / "day.csv").read_text() == "a/day.csv"
        assert copies.parent.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_the_next_writer_removes_copies_of_a_killed_process(places, tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from perennial.storage.objects.copies import local_copies\n"
        "from perennial.storage.objects.bucket import RemotePath\n"
        f"with local_copies([RemotePath.parse('{places[0]}')], Path(sys.argv[1])) as paths:\n"
        "    print(paths[0], flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen(  # noqa: S603  # our own interpreter and text
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        assert worker.stdout is not None
        copy = Path(worker.stdout.readline().strip())
        try:
            with Store.open(tmp_path / "s.duckdb"):
                assert copy.read_text() == "a/day.csv"  # It is in use.
        finally:
            worker.send_signal(signal.SIGKILL)
    assert copy.exists()
    with Store.open(tmp_path / "s.duckdb"):
        assert not copy.exists()
    assert not list(tmp_path.glob(".perennial-*"))
