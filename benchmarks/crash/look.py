"""Comparison of what a kill left with the undisturbed run, now and after the run resumes."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.crash.check import are_half_known, find_faults
from benchmarks.crash.children import run_command
from benchmarks.crash.content import ABSENT, hash_file, hash_folder, hash_store
from perennial.storage.errors import UserError
from perennial.storage.store import Store


@dataclass(frozen=True)
class Left:
    """A command that was killed, and how far it had come.

    Attributes:
        points: of the undisturbed run; phase, label, commits and lines printed before each.
        states: of the store, before the first commit and after each.
        point: at which it was killed.
        num_reported: lines that it had printed when it was killed.
        late: whether it was killed a moment after the point.
        new: whether it is the command that makes the store.
    """

    points: Sequence[tuple[str, str, int, int]]
    states: Sequence[str]
    point: int
    num_reported: int
    late: bool
    new: bool

    @property
    def num_committed(self) -> int:
        """Commits that must have lasted: those before the point, and those that were reported."""
        _, _, commits, reported = self.points[self.point]
        if self.num_reported <= reported:
            return commits
        return min(then for _, _, then, lines in self.points if lines >= self.num_reported)

    def judge(self, state: str) -> list[str]:
        """Report what is wrong with the present state."""
        possible = self.states[self.num_committed :]
        if state in (possible if self.late else possible[:1]):
            return []
        if state in self.states:
            found = self.states.index(state)
            return [f"the store is as after commit {found}, not {self.num_committed}"]
        return ["the store holds what it never holds in an undisturbed run"]


def check_left(store: Path, left: Left, copy: Path) -> list[str]:
    """Report what is wrong before the run resumes; change nothing.

    Args:
        store: its file.
        left: how it came about.
        copy: a folder to be made, in which the store is opened for writing.
    """
    try:
        state = hash_file(store)
    except duckdb.Error as error:
        return [f"it cannot be read: {error}"]
    faults = left.judge(state)
    if state == ABSENT:
        return faults
    try:
        with Store.open(store, read_only=True) as opened:
            faults += find_faults(opened)
            if are_half_known(opened):
                faults.append("users are neither wholly there nor wholly gone")
    except UserError as error:
        # A store whose making was killed may wait for the rest of its schema.
        if not left.new or "older schema" not in str(error):
            faults.append(f"it cannot be read: {error}")
    shutil.copytree(store.parent, copy)
    try:
        with Store.open(copy / store.name) as opened:
            if not left.new and hash_store(opened.connection) != state:
                faults.append("opening it for writing changes what it holds")
    except UserError as error:
        faults.append(f"it cannot be opened for writing: {error}")
    return faults


def resume(commands: Iterable[tuple[str, ...]], words: Path) -> list[str]:
    """Run commands as if nothing had happened; return their faults.

    Args:
        commands: as from a shell.
        words: a file for their stderr.
    """
    faults = []
    for command in commands:
        code, stderr = run_command(command, words)
        if code == 1 and command[0] == "forget" and "is not in" in stderr:
            # The log is rewritten already; what follows from it may still have to be made again.
            code, stderr = run_command(("update", *command[1:3]), words)
        if code != 0:
            faults.append(f"again, `{command[0]}` ends with {code}: {stderr[-600:]}")
    return faults


def compare_end(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Report all differences from the undisturbed run.

    Args:
        folder: of the store.
        wanted: `content.hash_folder` of the undisturbed run after the same command.
    """
    (store,) = folder.glob("*.duckdb")
    found = hash_folder(store)
    with Store.open(store, read_only=True) as opened:
        faults = find_faults(opened)
    faults += [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"{name} is left" for name in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{name} differs"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    return [f"at the end {fault}" for fault in faults]
