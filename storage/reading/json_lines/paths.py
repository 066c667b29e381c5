"""Paths to the values of JSON objects, as columns with names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import find_column, printable
from perennial.storage.reading.settings import FileSettings

Path = tuple[str | None, ...]
"""Keys from an object to a value; `None` is each element of a list."""

# An object may nest deeper, and keys may be data; nobody names such columns.
_DEEPEST, _MOST_PATHS, _MOST_ELEMENTS = 8, 1000, 10


class Unfit:
    """A list or an object in the place of an identifier or a time."""


UNFIT: Final = Unfit()


def collect_paths(
    records: Iterable[object], known: Mapping[str, Path] | None = None
) -> dict[str, Path]:
    """Return the paths to texts and numbers by their names, in order of appearance, after `known`.

    The name is the keys with dots between them, such as `events.aid`; a list of texts or numbers
    ends with brackets, such as `items[]`.
    """
    found = dict(known or {})
    for record in records:
        _add_paths(record, "", (), found)
    return found


def _add_paths(value: object, name: str, path: Path, found: dict[str, Path]) -> None:
    if len(path) > _DEEPEST or len(found) > _MOST_PATHS:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            _add_paths(inner, f"{name}.{key}" if name else key, (*path, key), found)
    elif isinstance(value, list):
        for element in islice(value, _MOST_ELEMENTS):
            mark = "" if isinstance(element, dict) else "[]"
            _add_paths(element, name + mark, (*path, None), found)
    else:
        found.setdefault(name, path)


def check_depth(paths: Mapping[str, Path], settings: FileSettings) -> str | None:
    """Refuse objects whose user or item has a usual name, but lies deeper.

    Returns:
        Name of a column that lies deeper and may hold the times, if there is no other.

    Raises:
        UserError: there is such a user or item; the message names the options that read it.
    """
    names = list(paths)
    ends = [name.rpartition(".")[2].removesuffix("[]") for name in names]
    options: dict[str, str] = {}
    for role, given in settings.given:
        if given is not None or find_column(names, None, role.usual, role.what) is not None:
            continue
        place = find_column(ends, None, role.usual, role.what)
        if place is not None:
            options[role.what] = names[place]
    if any(role.what in options for role in settings.roles[:2]):
        words = " ".join(
            f"--{what}-column '{printable(name, 60)}'" for what, name in options.items()
        )
        raise UserError(f"its columns lie inside lists or objects: give {words}")
    return options.get("time")


@dataclass(frozen=True)
class Rows:
    """Paths of the columns of a row, which is an object, or an element of a list in it.

    Attributes:
        stem: keys from the object to the list whose elements are the rows; `None` if there is none.
        columns: for each column, True if it is a value of the element, and the keys to it.
    """

    stem: tuple[str, ...] | None
    columns: tuple[tuple[bool, tuple[str, ...]], ...]

    @classmethod
    def find(cls, paths: Sequence[Path]) -> "Rows":
        """Find the rows; `UserError` if the columns are in different lists, or in nested ones."""
        stems = {tuple(_keys(path[: path.index(None)])) for path in paths if None in path}
        if len(stems) > 1 or any(path.count(None) > 1 for path in paths):
            raise UserError(
                "the columns are in several lists, so there is no row for each element; name "
                "columns of one list"
            )
        columns = [
            (True, tuple(_keys(path[path.index(None) + 1 :])))
            if None in path
            else (False, tuple(_keys(path)))
            for path in paths
        ]
        return cls(next(iter(stems), None), tuple(columns))

    def read(self, record: Mapping[str, object]) -> list[list[str | Unfit]]:
        """Return the columns of each row of an object; an absent value is an empty text."""
        elements: Sequence[object] = (None,)
        if self.stem is not None:
            value = _follow(record, self.stem)
            if value is None:
                return []
            elements = value if isinstance(value, list) else (UNFIT,)
        return [
            [_text(element if inside else record, keys) for inside, keys in self.columns]
            for element in elements
        ]


def _keys(path: Path) -> Iterable[str]:
    return (key for key in path if key is not None)


def _follow(value: object, keys: tuple[str, ...]) -> object:
    for key in keys:
        if not isinstance(value, dict):
            return None if value is None else UNFIT
        value = value.get(key)
    return value


def _text(value: object, keys: tuple[str, ...]) -> str | Unfit:
    found = _follow(value, keys)
    if found is None:
        return ""
    if isinstance(found, bool):
        return "true" if found else "false"
    return found if isinstance(found, str) else UNFIT
