"""The default source: a seeded synthetic log in which old interactions stay useful."""

from pathlib import Path
from typing import TYPE_CHECKING

from perennial.storage.atomic import replacing
from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.stream.sources.base import LogFiles, SourceInfo

if TYPE_CHECKING:
    from perennial.stream.sources.synthetic_generator import SyntheticLog

GENERATOR = 2
"""Version of the generator, in the file's name; raised if the same seed gives another log."""


def write(log: "SyntheticLog", path: Path) -> None:
    """Write a log as Parquet, all or nothing: `user_id`, `item_id`, `timestamp` (Unix seconds)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"user_id": log.users, "item_id": log.items, "timestamp": log.times})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


class Synthetic:
    """The `Source` of the default log, generated on first use in about a second."""

    name = "synthetic"
    info = SourceInfo(
        summary="made-up users whose tastes drift, go and come back; the embedded default",
        size="121,712 rows, 2,000 users, 1,000 items; generated",
        licence="none needed",
    )

    def state(self, cache: Path) -> str:
        """Return `ready`: nothing has to be downloaded."""
        return "ready"

    def open(self, *, cache: Path, mirror: str | None, progress: Progress) -> LogFiles:
        """Generate the default log unless it is in the cache; see `Source.open`."""
        from perennial.storage.reading.settings import IngestSettings
        from perennial.stream.sources.synthetic_generator import SyntheticSettings, generate

        path = cache / self.name / f"synthetic-{GENERATOR}.parquet"
        if not path.is_file():
            progress("generating the synthetic stream", 0, None)
            write(generate(SyntheticSettings(), seed=0), path)
        return LogFiles(self.name, (path,), IngestSettings())


SOURCE = Synthetic()
