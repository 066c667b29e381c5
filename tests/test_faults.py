"""Full and read-only disks, damaged and foreign files: one clear line, and nothing is lost."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner
from command_line import write_log
from fork_server import fork_server

from perennial import cli

MIB = 2**20
TINY = ("--model", "infinite-ae", "--strategy", "individual,distill-cf", "--budget", "10")
STEPS = ("--set", 'distill-cf.distillation={"steps": 1}')
ASK = ("--user", "u7", "--k", "5", "--json")

pytestmark = [pytest.mark.campaign, pytest.mark.skipif(os.name == "nt", reason="a disk of Unix")]


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str

    @property
    def found(self) -> object:
        try:
            printed = json.loads(self.stdout)
        except ValueError:
            return self.stdout
        return printed.get("results", printed)

    def assert_one_clear_line(self, *words: str) -> str:
        errors = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert (self.code, self.stdout, len(errors)) == (1, "", 1), self
        assert self.stderr.splitlines()[-1] == errors[0]
        for unclear in ("Traceback", "should not happen"):
            assert unclear not in self.stderr
        for word in words:
            assert word in errors[0]
        return errors[0]


def call_all(calls: dict[str, list[object]], limit: int | None = None) -> dict[str, Done]:
    """Call commands one after the other in one process, which must live through all of them."""
    texts = [[str(word) for word in arguments] for arguments in calls.values()]
    ended = fork_server().call("commands_under_fault:call_commands", texts, limit)
    lines = ended.stdout.splitlines()
    assert ended.code == 0, f"ended by {lines[-1:]}: {ended.stderr[-2000:]}"
    return {name: Done(**json.loads(line)) for name, line in zip(calls, lines[1::2], strict=True)}


def reading(store: Path) -> dict[str, list[object]]:
    return {
        "periods": ["periods", "--store", store, "--json"],
        "report": ["report", "--store", store, "--json"],
        "memory": ["memory", "show", "--store", store, "--json"],
    }


def writing(store: Path, log: Path) -> dict[str, list[object]]:
    """Commands that have something to write, `ingest` at last."""
    folder, joint = store.parent, ("--model", "infinite-ae", "--strategy", "joint")
    return {
        "export": ["periods", "export", "--store", store, "-o", folder / "periods"],
        "page": ["report", "--store", store, "-o", folder / "page"],
        "recommend": ["recommend", "--store", store, "--strategy", "joint", *ASK],
        "replay": ["replay", "--store", store, *joint, "--json"],
        "ingest": ["ingest", log, "--store", store],
    }


def repeating(store: Path, log: Path) -> dict[str, list[object]]:
    """Commands that find what they would make, and `ingest`."""
    return {
        **reading(store),
        "export": ["periods", "export", "--store", store, "-o", store.parent / "periods"],
        "replay": ["replay", "--store", store, *TINY, *STEPS, "--json"],
        "recommend": ["recommend", "--store", store, "--strategy", "individual", *ASK],
        "ingest": ["ingest", log, "--store", store],
    }


@dataclass(frozen=True)
class Whole:
    """A sound store with a replay, summaries and a model, and what commands say of it."""

    folder: Path
    log: Path
    done: dict[str, Done]

    def copy(self, to: Path) -> Path:
        """Another one like it."""
        shutil.copytree(self.folder, to, dirs_exist_ok=True)
        return to / "s.duckdb"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    outside = tmp_path_factory.mktemp("logs")
    files = [
        write_log(outside / f"{day}.csv", seed=day, num_lines=300, begin=1440 * day)
        for day in (1, 2, 3, 9)
    ]
    folder = tmp_path_factory.mktemp("whole")
    store = folder / "s.duckdb"
    made = call_all(
        {
            "ingest": ["ingest", *files[:3], "--store", store],
            "replay": ["replay", "--store", store, *TINY, *STEPS],
            "recommend": ["recommend", "--store", store, "--strategy", "individual", *ASK],
        }
    )
    assert [one.code for one in made.values()] == [0, 0, 0], made
    spare = Whole(folder, files[3], {}).copy(tmp_path_factory.mktemp("spare"))
    calls = repeating(spare, files[3])
    done = call_all({**calls, "periods again": calls["periods"]})
    assert all(one.code == 0 for one in done.values()), done
    assert json.loads(done["memory"].stdout)["summaries"]
    return Whole(folder, files[3], done)


def hash_files(folder: Path) -> dict[str, str]:
    """Hashes of a folder's files, without locks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@contextmanager
def mount(folder: Path, size: int) -> Iterator[Path]:
    """A small file system in memory; skips where none can be mounted."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], check=False).returncode:  # noqa: S603, S607
        pytest.skip("a small disk can be mounted by root only, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S603, S607


def fill(disk: Path) -> Path:
    """A file that leaves no room on a disk."""
    filler = disk / "filler"
    handle = os.open(filler, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(handle, b"\0" * 4096)
    except OSError:
        return filler
    finally:
        os.close(handle)


class TestADiskThatTakesNoMore:
    def assert_nothing_is_lost(self, whole: Whole, store: Path) -> None:
        """Once there is room the same commands succeed, and the log is as it would have been."""
        looked = reading(store)
        again = call_all({**looked, **writing(store, whole.log), "again": looked["periods"]})
        assert {one.code for one in again.values()} == {0}, again
        for name in looked:
            assert again[name].found == whole.done[name].found
        assert again["ingest"].stdout == whole.done["ingest"].stdout
        assert again["again"].found == whole.done["periods again"].found

    def test_a_full_disk(self, whole: Whole, tmp_path: Path) -> None:
        with mount(tmp_path / "disk", 32 * MIB) as disk:
            store = whole.copy(disk)
            before = hash_files(disk)
            filler = fill(disk)
            looked = call_all(reading(store))
            done = call_all(writing(store, whole.log))
            filler.unlink()
            for name, one in looked.items():
                assert one.found == whole.done[name].found
            for one in done.values():
                one.assert_one_clear_line(str(disk), "No space left on device")
            assert hash_files(disk).items() >= before.items()
            self.assert_nothing_is_lost(whole, store)

    def test_a_quota(self, whole: Whole, tmp_path: Path) -> None:
        store = whole.copy(tmp_path / "disk")
        for one in call_all(writing(store, whole.log), limit=1024).values():
            one.assert_one_clear_line(str(store.parent), "File too large")
        self.assert_nothing_is_lost(whole, store)

    def test_a_read_only_folder(self, whole: Whole, tmp_path: Path) -> None:
        with mount(tmp_path / "disk", 32 * MIB) as disk:
            store = whole.copy(disk)
            before = hash_files(disk)
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)  # noqa: S603, S607
            looked = call_all(reading(store))
            done = call_all(writing(store, whole.log))
            assert hash_files(disk) == before
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)  # noqa: S603, S607
            for name, one in looked.items():
                if one.code:
                    one.assert_one_clear_line(str(disk), "Read-only file system")
                else:
                    assert one.found == whole.done[name].found
            for one in done.values():
                one.assert_one_clear_line(str(disk), "Read-only file system")
            self.assert_nothing_is_lost(whole, store)


class TestADamagedStore:
    def assert_seen_or_harmless(self, whole: Whole, copies: dict[str, Path]) -> list[str]:
        """Return lines that say what is wrong; what else is said is as of the original."""
        calls = {
            f"{label} {name}": arguments
            for label, store in copies.items()
            for name, arguments in repeating(store, whole.log).items()
        }
        said = []
        for label, one in call_all(calls).items():
            where, name = label.rsplit(" ", 1)
            if one.code:
                said.append(one.assert_one_clear_line(str(copies[where])))
            elif name != "export":
                assert one.found == whole.done[name].found, label
        return said

    @pytest.mark.parametrize(("name", "last", "count"), [("headers", 12_288, 4), ("file", None, 6)])
    def test_a_flipped_bit(self, whole, tmp_path, name, last, count):
        rng = np.random.default_rng(11)
        copies = {}
        for number in range(count):
            store = whole.copy(tmp_path / str(number))
            data = bytearray(store.read_bytes())
            place = int(rng.integers(last or len(data)))
            data[place] ^= 1 << int(rng.integers(8))
            store.write_bytes(data)
            copies[f"{name}, byte {place}"] = store
        said = self.assert_seen_or_harmless(whole, copies)
        assert all("damaged" in line or "not a DuckDB file" in line for line in said)
        # The headers have no free room.
        assert last is None or len(said) == 7 * count

    def test_a_cut(self, whole: Whole, tmp_path: Path) -> None:
        copies = {}
        for share in (0, 0.0001, 0.01, 0.7):
            store = whole.copy(tmp_path / str(share))
            os.truncate(store, int(share * store.stat().st_size))
            copies[f"cut to {share}"] = store
        said = self.assert_seen_or_harmless(whole, copies)
        assert all("damaged" in line or "not a DuckDB file" in line for line in said)
        assert len(said) == 7 * len(copies)
        # With the original in its place all is well again.
        shutil.rmtree(store.parent)
        whole.copy(store.parent)
        assert self.assert_seen_or_harmless(whole, {"mended": store}) == []

    def test_the_write_ahead_log(self, whole: Whole, tmp_path: Path) -> None:
        """Damaged it is refused; cut short it is what a crash leaves: its transaction was not."""
        store = whole.copy(tmp_path / "killed")
        ended = fork_server().call(
            "commands_under_fault:ingest_and_die", str(store), str(whole.log)
        )
        assert ended.code == 0, ended.stderr
        log = store.with_name("s.duckdb.wal")
        data = log.read_bytes()
        rng = np.random.default_rng(12)
        calls = {}
        for number in range(12):
            copied = tmp_path / str(number) / "s.duckdb"
            shutil.copytree(store.parent, copied.parent)
            place = int(rng.integers(len(data)))
            changed = bytearray(data)
            changed[place] ^= 1 << int(rng.integers(8))
            cut = number % 2 == 0
            copied.with_name(log.name).write_bytes(data[:place] if cut else changed)
            looked = reading(copied)["periods"]
            calls[f"{number} {'cut' if cut else 'flipped'} at {place}"] = looked
            calls[f"{number} ingest"] = ["ingest", whole.log, "--store", copied]
            calls[f"{number} again"] = looked
        sound = (whole.done["periods"].found, whole.done["periods again"].found)
        for label, one in call_all(calls).items():
            if one.code:
                one.assert_one_clear_line("s.duckdb", "damaged")
            elif label.endswith("again"):
                assert one.found == sound[1], label
            elif "ingest" not in label:
                assert one.found in (sound if "cut" in label else sound[1:]), label
        assert call_all(reading(store))["periods"].found == sound[1]

    def test_a_store_of_the_future(self, whole: Whole, tmp_path: Path) -> None:
        store = whole.copy(tmp_path / "future")
        with duckdb.connect(store) as connection:
            connection.execute("INSERT INTO migrations VALUES (99, 'telepathy')")
        before = hash_files(tmp_path)
        calls = {**repeating(store, whole.log), **writing(store, whole.log)}
        for one in call_all(calls).values():
            one.assert_one_clear_line(str(store), "schema 99", "upgrade perennial")
        assert hash_files(tmp_path) == before


def test_a_damaged_model_is_made_again(whole: Whole, tmp_path: Path) -> None:
    """The model is fitted again to the same answer, and its file is sound afterwards."""
    calls = {}
    for number, damage in enumerate(("flip header", "flip", "cut", "empty", "remove")):
        store = whole.copy(tmp_path / str(number))
        for model in Path(f"{store}.models").iterdir():
            data = bytearray(model.read_bytes())
            data[20 if "header" in damage else len(data) - 20] ^= 4
            cut = {"cut": len(data) // 2, "empty": 0}.get(damage)
            model.write_bytes(data[:cut])
            if damage == "remove":
                model.unlink()
        calls[damage] = repeating(store, whole.log)["recommend"]
        calls[f"{damage}, again"] = calls[damage]
    for one in call_all(calls).values():
        assert one.code == 0, one
        assert one.found == whole.done["recommend"].found
    for number in range(5):
        assert hash_files(tmp_path / str(number) / "s.duckdb.models")


def test_an_error_of_the_machine_is_no_fault_of_the_program(whole, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "/mnt/page.html")

    monkeypatch.setattr("perennial.storage.log.periods.list_periods", fail)
    arguments = ["periods", "--store", str(whole.folder / "s.duckdb")]
    done = CliRunner().invoke(cli.main, arguments, prog_name="perennial")
    Done(done.exit_code, done.stdout, done.stderr).assert_one_clear_line(
        "/mnt/page.html: Input/output error"
    )
