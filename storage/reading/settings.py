"""Settings for reading log files."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class IngestSettings:
    """Settings for reading log files.

    Attributes:
        user_column: name of the user column, or its position, "1" for the first; `None` guesses, as
            for the item, the time and the rating column.
        format: one of `perennial.storage.reading.formats.FORMATS`; `None` guesses from the file's
            name.
        max_reject_share: largest share of bad lines in a file, in [0, 1].
        tie_seed: seed of the order of events at equal times.
        header: True if the first line of a text file names the columns; `None` guesses.
        encoding: of a text file, as Python names it; `None` is UTF-8, or UTF-16 after a byte order
            mark.
        time_format: format of the times, as for `parse_times`; `None` guesses.
        min_rating: least rating of a row that counts; `None` for any.
        where: column -> the values that a row may have there to count, for every column named.
    """

    user_column: str | None = None
    item_column: str | None = None
    time_column: str | None = None
    format: str | None = None
    max_reject_share: float = 0.05
    tie_seed: int = 0
    header: bool | None = None
    encoding: str | None = None
    time_format: str | None = None
    min_rating: float | None = None
    rating_column: str | None = None
    where: tuple[tuple[str, tuple[str, ...]], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; settings that came later only where they are not the default.

        So the same settings give the same text, and the same keys, in every version.
        """
        values = dataclasses.asdict(self)
        return {
            name: value for name, value in values.items() if name in _FIRST or value is not None
        }


_FIRST = ("user_column", "item_column", "time_column", "format", "max_reject_share", "tie_seed")

DEFAULT_SETTINGS = IngestSettings()
