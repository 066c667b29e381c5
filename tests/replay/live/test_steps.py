"""Words for the steps of a live store."""

from pathlib import Path

import pytest

from perennial.replay.live.steps import describe_ingest
from perennial.storage.log.ledger import IngestReport


@pytest.mark.parametrize(
    ("count", "named"), [(1, "0.csv: "), (3, "0.csv, 1.csv, 2.csv: "), (1001, "0.csv and 1,000 ")]
)
def test_of_many_files_the_first_is_named(count, named):
    paths = tuple(Path(f"{number}.csv") for number in range(count))
    report = IngestReport(paths, False, 9, 9, 0, 0, {}, (1,), (), ())
    assert describe_ingest(report).startswith(named)
