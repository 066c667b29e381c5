"""`periods` and `periods export`, as a person calls them."""

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import cli
from storage.ingest import ingest_log
from storage.periods import fingerprint, list_periods
from storage.store import Store
from stream.cuts import make_cut


def call(*arguments: object) -> click.testing.Result:
    return CliRunner().invoke(cli.main, [str(one) for one in arguments], prog_name="perennial")


def call_well(*arguments: object) -> click.testing.Result:
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def fails(words: str, *arguments: object, exit_code: int = 1) -> None:
    """One line on stderr and nothing on stdout."""
    result = call(*arguments)
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def last_fingerprint(path: Path) -> str:
    with Store.open(path) as store:
        return fingerprint(store, len(list_periods(store)))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with a log of 20 users and 15 items, four lines a second."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    pairs = zip(rng.integers(20, size=400), rng.integers(15, size=400), strict=True)
    lines = [f"u{u},{i},{t // 4}\n" for t, (u, i) in enumerate(pairs)]
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n" + "".join(lines))
    return tmp_path


def ingest_files(store: Path, *files: Path) -> None:
    for file in files:
        call_well("ingest", file, "--store", store)


class TestExport:
    def test_a_source_is_cut_and_exported_and_leaves_no_store(self, here):
        printed = call_well("periods", "export", "log.csv", "--periods", 4, "-o", "out").stdout
        files = sorted((here / "out").iterdir())
        assert [path.name for path in files] == [f"period-000{n}.parquet" for n in (1, 2, 3, 4)]
        assert printed.splitlines()[0] == "out/period-0001.parquet: 99 interactions"
        assert not list(here.glob("*.duckdb*"))
        ingest_files(here / "again.duckdb", *files)
        with Store.open(here / "cut.duckdb") as store:
            ingest_log(store, ["log.csv"], make_cut("equal-count", 4))
        assert last_fingerprint(here / "again.duckdb") == last_fingerprint(here / "cut.duckdb")

    def test_a_store_is_exported_and_comes_back(self, here):
        call_well("periods", "export", "log.csv", "--periods", 3, "-o", "out")
        ingest_files(here / "a.duckdb", *sorted((here / "out").iterdir()))
        call_well("periods", "export", "--store", "a.duckdb", "-o", "second")
        ingest_files(here / "b.duckdb", *sorted((here / "second").iterdir()))
        assert last_fingerprint(here / "a.duckdb") == last_fingerprint(here / "b.duckdb")
        call_well("ingest", here / "second" / "period-0002.parquet", "--store", "a.duckdb")
        assert len(json.loads(call_well("periods", "--store", "a.duckdb", "--json").stdout)) == 1
        call_well("periods", "export", "--store", "a.duckdb", "--period", 2, "-o", "one")
        (one,) = (here / "one").iterdir()
        assert one.read_bytes() == (here / "out" / one.name).read_bytes()

    def test_other_files_are_kept_unless_forced(self, here):
        (here / "out").mkdir()
        mine = here / "out" / "period-0001.parquet"
        mine.write_text("mine")
        export = ("periods", "export", "log.csv", "--periods", 2, "-o", "out")
        fails("out/period-0001.parquet: is there and no export", *export)
        assert mine.read_text() == "mine"
        call_well(*export, "--force")
        call_well(*export)
        assert len(list(mine.parent.iterdir())) == 2

    def test_refusals(self, here):
        out = ("-o", "out")
        export = ("periods", "export")
        fails("either SOURCE or --store", *export, *out, exit_code=2)
        fails("either SOURCE or --store", *export, "log.csv", "--store", "s", *out, exit_code=2)
        fails("'--output'", *export, "log.csv", exit_code=2)
        fails("s.duckdb: no such store", *export, "--store", "s.duckdb", *out)
        fails("no 3", *export, "no 3", *out)
        fails(
            "the log: there is no period 3", *export, "log.csv", "--periods", 2, "--period", 3, *out
        )
        ingest_files(here / "s.duckdb", here / "log.csv")
        fails("cut and read already", *export, "--store", "s.duckdb", "--periods", 3, *out)
        assert not (here / "out").exists()


class TestPeriods:
    def test_alone_it_shows_what_is_there(self, here):
        ingest_files(here / "s.duckdb", here / "log.csv")
        assert "The log" in call_well("periods", "--store", "s.duckdb").stdout
        (period,) = json.loads(call_well("periods", "--store", "s.duckdb", "--json").stdout)[
            "periods"
        ]
        assert period["interactions"] == period["kept"] > 300

    def test_options_belong_to_the_command_that_takes_them(self, here):
        fails("Missing option '--store'", "periods", exit_code=2)
        fails("give options after export", *("periods", "--store", "s", "export"), exit_code=2)
        assert not list(here.glob("s*"))
