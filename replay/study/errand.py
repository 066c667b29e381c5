"""A task as a machine gets it that sees none of our files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Errand:
    """A request with places in a folder of the worker's own, and what goes into it and out.

    Places are relative, with `/` between their parts.

    Attributes:
        line: the request, as the worker is told it with that folder as its current one.
        takes: files that must lie there first: place there -> file here.
        brings: what the worker leaves, files or folders of files: place there -> place here. What
            is not there is not brought.
    """

    line: str
    takes: Mapping[str, Path]
    brings: Mapping[str, Path]


def read_brought(folder: Path, places: tuple[str, ...]) -> dict[str, bytes]:
    """What a worker left in its folder: place, of a file below one of `places` -> content."""
    files: list[Path] = []
    for place in places:
        path = folder / place
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [one for one in inside if one.is_file()]
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}


def place_here(errand: Errand, place: str) -> Path:
    """Where a file that was brought belongs.

    Raises:
        ValueError: nobody asked for it.
    """
    parts = place.split("/")
    for depth in range(len(parts), 0, -1):
        base = errand.brings.get("/".join(parts[:depth]))
        if base is not None and ".." not in parts:
            return base.joinpath(*parts[depth:])
    raise ValueError(f"a worker brought {place!r}, which it was not asked for")
