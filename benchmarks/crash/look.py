"""What a kill left, beside what the undisturbed run passed through, and what comes of going on."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.crash.check import are_half_known, find_faults
from benchmarks.crash.children import give
from benchmarks.crash.content import ABSENT, hash_file, hash_folder, hash_store
from perennial.storage.errors import UserError
from perennial.storage.store import Store


@dataclass(frozen=True)
class Left:
    """A command that was killed, and how far it had come.

    Attributes:
        points: of the undisturbed run; phase, label, commits and lines told before each.
        states: of the store, before the first commit and after each.
        point: at which it was killed.
        told_now: lines that were out when it was killed.
        late: whether it went on for a moment after the point.
        new: whether it is the command that makes the store.
    """

    points: Sequence[tuple[str, str, int, int]]
    states: Sequence[str]
    point: int
    told_now: int
    late: bool
    new: bool

    @property
    def promised(self) -> int:
        """Commits that must have lasted: those before the point, and what was told of."""
        _, _, commits, told = self.points[self.point]
        if self.told_now <= told:
            return commits
        return min(then for _, _, then, lines in self.points if lines >= self.told_now)

    def judge(self, state: str) -> list[str]:
        """What is wrong with the state that is there."""
        possible = self.states[self.promised :]
        if state in (possible if self.late else possible[:1]):
            return []
        if state in self.states:
            found = self.states.index(state)
            return [f"the store is as after commit {found}, not {self.promised}"]
        return ["the store holds what it never holds in an undisturbed run"]


def look_at(store: Path, left: Left, copy: Path) -> list[str]:
    """What is wrong before anybody has gone on; nothing is changed.

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


def go_on(commands: Iterable[tuple[str, ...]], words: Path) -> list[str]:
    """Give commands as if nothing had happened; what they complain about.

    Args:
        commands: as from a shell.
        words: a file for what they say on stderr.
    """
    faults = []
    for command in commands:
        code, said = give(command, words)
        if code == 1 and command[0] == "forget" and "is not in" in said:
            # They are gone from the log; what was made of it may still have to be made anew.
            code, said = give(("update", *command[1:3]), words)
        if code != 0:
            faults.append(f"again, `{command[0]}` ends with {code}: {said[-600:]}")
    return faults


def look_at_end(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """What is not as if nothing had ever been killed.

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
