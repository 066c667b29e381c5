"""`periods` and `periods export`, as a person calls them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import assert_fails, call, call_json, call_well

from perennial.storage.log.ingest import ingest_log
from perennial.storage.log.periods import fingerprint, list_periods
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut


def last_fingerprint(path: Path) -> str:
    with Store.open(path) as store:
        return fingerprint(store, len(list_periods(store)))


@pytest.fixture
def here(here) -> Path:
    """A current folder with a log of 20 users and 15 items, four lines a second."""
    rng = np.random.default_rng(3)
    pairs = zip(rng.integers(20, size=400), rng.integers(15, size=400), strict=True)
    lines = [f"u{u},{i},{t // 4}\n" for t, (u, i) in enumerate(pairs)]
    (here / "log.csv").write_text("user_id,item_id,timestamp\n" + "".join(lines))
    return here


class TestExport:
    def test_a_source_is_cut_and_exported_and_leaves_no_store(self, here):
        printed = call_well("periods", "export", "log.csv", "--periods", 4, "-o", "out").stdout
        files = sorted((here / "out").iterdir())
        assert [path.name for path in files] == [f"period-000{n}.parquet" for n in (1, 2, 3, 4)]
        assert printed.splitlines()[0] == "out/period-0001.parquet: 99 interactions"
        assert not list(here.glob("*.duckdb*"))
        call_well("ingest", *files, "--store", "again.duckdb")
        with Store.open(here / "cut.duckdb") as store:
            ingest_log(store, ["log.csv"], make_cut("equal-count", 4))
        assert last_fingerprint(here / "again.duckdb") == last_fingerprint(here / "cut.duckdb")

    def test_a_period_of_a_store_is_exported(self, here):
        call_well("periods", "export", "log.csv", "--periods", 3, "-o", "out")
        call_well("ingest", *sorted((here / "out").iterdir()), "--store", "a.duckdb")
        export = ("periods", "export", "--store", "a.duckdb", "--period", 2, "-o", "one")
        (printed,) = call_json(*export)["files"]
        (one,) = (here / "one").iterdir()
        rows = pq.read_metadata(one).num_rows
        assert printed == {"period": 2, "path": f"one/{one.name}", "interactions": rows}
        assert one.read_bytes() == (here / "out" / one.name).read_bytes()

    def test_refusals(self, here):
        out = ("-o", "out")
        export = ("periods", "export")
        assert_fails(call(*export, *out), "either SOURCE or --store", exit_code=2)
        assert_fails(
            call(*export, "log.csv", "--store", "s", *out), "either SOURCE or --store", exit_code=2
        )
        assert_fails(call(*export, "log.csv"), "'--output'", exit_code=2)
        assert_fails(call(*export, "--store", "s.duckdb", *out), "s.duckdb: no such store")
        assert_fails(call(*export, "no 3", *out), "no 3")
        assert_fails(
            call(*export, "log.csv", "--periods", 2, "--period", 3, *out),
            "the log: there is no period 3",
        )
        call_well("ingest", "log.csv", "--store", "s.duckdb")
        assert_fails(
            call(*export, "--store", "s.duckdb", "--periods", 3, *out), "cut and read already"
        )
        assert not (here / "out").exists()


class TestPeriods:
    def test_alone_it_shows_what_is_there(self, here):
        call_well("ingest", "log.csv", "--store", "s.duckdb")
        assert "Log" in call_well("periods", "--store", "s.duckdb").stdout
        (period,) = call_json("periods", "--store", "s.duckdb")["periods"]
        assert period["interactions"] == period["kept"] > 300

    def test_options_belong_to_the_command_that_takes_them(self, here):
        assert_fails(call("periods"), "Missing option '--store'", exit_code=2)
        assert_fails(
            call(*("periods", "--store", "s", "export")), "give options after export", exit_code=2
        )
        assert not list(here.glob("s*"))
