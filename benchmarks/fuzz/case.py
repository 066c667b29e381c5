"""One file of a fuzzing campaign."""

from dataclasses import dataclass, field
from typing import Literal

from perennial.storage.reading.settings import DEFAULT_SETTINGS, IngestSettings

Pairs = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class FuzzCase:
    """A file and what is known of it.

    Attributes:
        name: of the file; its suffix promises the format.
        content: its bytes.
        origin: how it came about: drawn by its structure, damaged, or one of the named cases.
        settings: how to read it.
        pairs: users and items, as text, of the rows that must be kept; None if not known.
        must: what has to come of it; None where both will do.
        typed_store: whether the store before it has identifiers that are integers by type.
    """

    name: str
    content: bytes = field(repr=False)
    origin: Literal["drawn", "damaged", "named"]
    settings: IngestSettings = DEFAULT_SETTINGS
    pairs: Pairs | None = field(default=None, repr=False)
    must: Literal["be taken", "be refused"] | None = None
    typed_store: bool = False

    @property
    def format(self) -> str:
        """The last suffixes of its name, without the dot."""
        stem = self.name.removesuffix(".gz")
        return stem.rsplit(".", 1)[-1] + (".gz" if stem != self.name else "")
