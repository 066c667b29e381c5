"""The interpretation of a log file, for its owner to check."""

from dataclasses import asdict, dataclass
from typing import Any

_SEPARATORS = {
    ",": "commas",
    "\t": "tabs",
    ";": "semicolons",
    "|": "vertical bars",
    "::": "double colons",
    " ": "blanks",
}


@dataclass(frozen=True)
class FileLayout:
    """Interpretation of a file.

    Attributes:
        format: name of the format.
        user: user column: its name, or "column 1" for the first of a file without names.
        item: item column, as for users.
        time: time column, as for users; `None` if the file has no times.
        header: True if the first line names the columns; `None` for a format without lines.
        header_guessed: True if `header` was guessed from the first lines.
        separator: separator of the fields of a text file.
        encoding: encoding of a text file.
        rows: number of lines or rows read, bad ones included.
    """

    format: str
    user: str
    item: str
    time: str | None
    header: bool | None = None
    header_guessed: bool = False
    separator: str | None = None
    encoding: str | None = None
    rows: int = 0

    def describe(self) -> str:
        """Describe the interpretation in one line."""
        parts = [self.format]
        if self.header is not None:
            guessed = " (guessed)" if self.header_guessed else ""
            parts.append(("header" if self.header else "no header") + guessed)
        if self.separator is not None:
            parts.append(_SEPARATORS.get(self.separator, repr(self.separator)))
        if self.encoding is not None:
            parts.append(self.encoding)
        time = "no time (line order)"
        if self.time is not None:
            time = f"time = {self.time} (not line order)"
        return (
            f"read as {', '.join(parts)}; user = {self.user}, item = {self.item}, {time}; "
            f"{self.rows:,} rows"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return asdict(self)
