"""Foundations that every layer uses: JSON values, progress, seeds, settings, visible text."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from perennial.storage.errors import UserError

Json = Any
"""A value that `json.dumps` takes and `json.loads` returns."""


@runtime_checkable
class Progress(Protocol):
    """Callback of work that may take longer than two seconds; the command line draws it."""

    def __call__(self, message: str, done: int = 0, total: int | None = None, /) -> None:
        """Report progress.

        The message replaces the one before. `done` and `total` are amounts of work in any unit;
        `total` is `None` if it is not known or not counted.
        """


def ignore_progress(_message: str, _done: int = 0, _total: int | None = None, /) -> None:
    """Drop a progress message."""


def derive_seed(*parts: int | str) -> int:
    """Hash the purpose of random numbers, such as `(seed, period, strategy)`, into a seed.

    Seeds derived from their purpose make results independent of the order of the work. A seed is in
    [0, 2^63), equal for equal parts on every machine; `1` and `"1"` differ.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def build(
    kind: str, name: str, target: type[Any], settings: Mapping[str, Any], method: str | None = None
) -> Any:
    """Make an instance of a class with some of its settings given.

    `target` is a frozen dataclass, or a class without settings, and every class of the kind has the
    method. Text is converted to the type of the field.

    Raises:
        UserError: not a class of the kind, unknown field, or a value that does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    if method is not None and not (isinstance(target, type) and hasattr(target, method)):
        raise UserError(f"{kind} '{name}' is no class with a method '{method}'")
    known = {f.name for f in dataclasses.fields(target)} if dataclasses.is_dataclass(target) else {}
    for setting in settings:
        if setting not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise UserError(f"{kind} '{name}' has no setting '{setting}'; {has}")
    if not known:
        return target()
    try:
        return TypeAdapter(target).validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        setting = f", setting '{where}'" if where else ""
        raise UserError(f"{kind} '{name}'{setting}: {describe_invalid(first)}") from None


_WANTED = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "bool": "must be true or false",
    "string": "must be text",
    "literal": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "tuple": "must be a list",
    "list": "must be a list",
    "dict": "must be a group of settings, as JSON",
    "dataclass": "must be a group of settings, as JSON",
    "unexpected_keyword": "is unknown",
    "extra_forbidden": "is unknown",
    "missing": "is missing",
    "value_error": "{error}",
}
"""Meanings of pydantic's types of errors by their beginnings, with names from their context."""


def describe_invalid(error: Mapping[str, Any]) -> str:
    """Describe an entry of `ValidationError.errors()` of pydantic, without the value given."""
    for kind, meaning in _WANTED.items():
        if error["type"].startswith(kind):
            return meaning.format(**error.get("ctx", {}))
    return "is not valid"


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b)")
_UNITS = {None: 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_size(text: str) -> int | None:
    """Parse bytes such as `8GiB`, `500k` or `80B`, in units of 1024; `None` without a unit."""
    match = _SIZE.fullmatch(text.strip().lower())
    return None if match is None else int(float(match[1]) * _UNITS[match[2]])


def sparse_bytes(num_rows: int, num_entries: int) -> int:
    """Return the bytes of sparse rows: item and weight of each entry, and the begin of each row.

    Memories and the log are both measured so, whatever form they have on disk or on a device.
    """
    return 4 * num_rows + 8 * num_entries


_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters of ASCII and Latin-1, line separators, changes of the direction of writing,
and halves of surrogate pairs, as in names of files that are no UTF-8."""


def escape_controls(text: str, keep: str = "") -> str:
    r"""Make control characters visible, as in Python's literals: ESC becomes `\x1b`.

    Identifiers, titles and names of files and columns may contain any character: printed as they
    are, some change the terminal's title or colours, or overwrite what was printed before. Those in
    `keep` stay.
    """

    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else match[0].encode("unicode_escape").decode()

    return _CONTROLS.sub(escape, text)


def require(holds: bool, message: str) -> None:
    """Raise `ValueError` with a message unless a condition holds."""
    if not holds:
        raise ValueError(message)
