"""A folder gives each file once, when it is whole."""

import os
from pathlib import Path

from perennial.replay.live.watch import WatchedFolder


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def touch(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, ns=(len(text), len(text)))


def test_a_file_is_given_once_it_stays_as_it_is(tmp_path: Path) -> None:
    clock = Hand()
    folder = WatchedFolder(tmp_path, 5.0, clock)
    assert folder.poll() == ()
    touch(tmp_path / "b.csv", "half")
    assert folder.poll() == ()
    clock.now = 4.0
    touch(tmp_path / "b.csv", "half and the rest")
    assert folder.poll() == ()
    clock.now = 8.0
    assert folder.poll() == ()
    clock.now = 9.0
    assert (folder.poll(), folder.poll()) == ((tmp_path / "b.csv",), ())
    clock.now = 20.0
    touch(tmp_path / "b.csv", "mended")
    assert folder.poll() == ()
    clock.now = 25.0
    assert folder.poll() == (tmp_path / "b.csv",)


def test_a_file_that_could_not_be_taken_is_given_again(tmp_path: Path) -> None:
    folder = WatchedFolder(tmp_path, 0.0, Hand())
    for name in ("a.csv", "b.csv", "c.csv"):
        touch(tmp_path / name, "x")
    whole = folder.poll()
    folder.forget(whole[1:])
    assert (folder.poll(), folder.poll()) == (whole[1:], ())


def test_what_is_not_finished_is_not_looked_at(tmp_path: Path) -> None:
    for name in (".hidden.csv", "a.csv.part", "b.tmp", "c.PARTIAL", "z.csv", "a.csv"):
        touch(tmp_path / name, "x")
    (tmp_path / "folder.csv").mkdir()
    assert WatchedFolder(tmp_path, 0.0, Hand()).poll() == (tmp_path / "a.csv", tmp_path / "z.csv")


def test_a_file_that_goes_is_forgotten(tmp_path: Path) -> None:
    clock = Hand()
    folder = WatchedFolder(tmp_path, 5.0, clock)
    touch(tmp_path / "a.csv", "x")
    folder.poll()
    (tmp_path / "a.csv").unlink()
    clock.now = 3.0
    folder.poll()
    touch(tmp_path / "a.csv", "x")
    clock.now = 6.0
    assert folder.poll() == ()
    clock.now = 11.0
    assert folder.poll() == (tmp_path / "a.csv",)


def test_numbers_in_names_sort_as_numbers(tmp_path: Path) -> None:
    for name in ("day-10.csv", "day-2.csv", "day-1.csv", "a1b2.csv", "a1b10.csv"):
        touch(tmp_path / name, "x")
    given = [path.name for path in WatchedFolder(tmp_path, 0.0, Hand()).poll()]
    assert given == ["a1b2.csv", "a1b10.csv", "day-1.csv", "day-2.csv", "day-10.csv"]
