"""The studies on the paper's split, as a person calls them, on a small file."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import assert_fails, call, call_json, call_well, write_log

sys.path.insert(0, str(Path(__file__).parent / "replay"))

from paper_toys import write_split

QUICK = ("--model", "infinite-ae", "--set", "infinite-ae.reg=5", "--seed", "0", "--users", "16")
FAST = (*QUICK, "--set", "distill-cf.num_steps=2", "--set", "distill-cf.validate_every=1")


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> Path:
    return write_split(tmp_path_factory.mktemp("split") / "split.parquet")


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """A log of 40 users and 25 items, and a user with two items."""
    path = write_log(tmp_path_factory.mktemp("log") / "visits.csv", num_lines=900)
    with path.open("a") as file:
        file.write("few,1,1\nfew,2,2\n")
    return path


@pytest.mark.slow
class TestTable1:
    def test_a_split_as_it_stands(self, split, here):
        options = ("--split", split, "--paper", "ml-1m", "-o", "out", "--workers", "2")
        result = call_well("study", "table1", *options, *FAST, "--json")
        printed = json.loads(result.stdout, parse_constant=pytest.fail)
        assert list(printed) == ["study", "config", "table", "cells", "read_as", "remarks"]
        assert printed["config"]["num_users"] == 40
        assert [cell["sampler"] for cell in printed["cells"]] == ["all-users", "distill-cf"]
        assert {one["metric"] for one in printed["table"]} == {"HR", "nDCG", "PSP", "AUC"}
        whole = next(one for one in printed["table"] if (one["metric"], one["k"]) == ("HR", 10))
        assert whole["difference_percent"] == pytest.approx(100 * (whole["mean"] / 31.51 - 1))
        assert "all-users infinite-ae seed 0: done (" in result.stderr
        assert (here / "out" / "index.html").is_file()
        again = call_well("study", "table1", *options, *FAST)
        assert "begun" not in again.stderr
        for words in ("Figures", "Compared with the paper", "Chosen settings", "Time and memory"):
            assert words in again.stdout

    def test_a_log_without_a_split(self, log, here):
        printed = call_json("study", "table1", "--source", log, "-o", "out", *FAST)
        config = printed["config"]
        assert (config["source"], config["num_users"], config["paper"]) == ("visits", 40, None)
        made = pq.read_table(here / "out" / "splits" / "visits-0.parquet").to_pylist()
        assert {row["user_id"] for row in made} == {f"u{number}" for number in range(40)}
        assert {row["split"] for row in made} == {"train", "validation", "test"}
        pairs = {(row["user_id"], str(row["item_id"])) for row in made}
        assert len(pairs) == len(made)
        lines = log.read_text().splitlines()[1:]
        given = {tuple(line.split(",")[:2]) for line in lines}
        assert pairs == {pair for pair in given if pair[0] != "few"}


@pytest.mark.campaign
def test_noise_over_its_levels(split, here):
    options = ("--split", split, "--sampler", "user-rns", "--noise", "50", "-o", "out")
    printed = call_json("study", "noise", *options, *QUICK)
    assert printed["config"]["noise"] == [0.0, 50.0]
    cells = [(cell["sampler"], cell["noise"]) for cell in printed["cells"]]
    assert cells == [
        *(("all-users", 0.0), ("all-users", 50.0)),
        *(("user-rns", 0.0), ("user-rns", 50.0)),
    ]
    assert (here / "out" / "noise" / "plots" / "hr-at-10.svg").is_file()


@pytest.mark.campaign
def test_rows_are_shared_by_studies_with_the_same_output(split, here):
    common = ("--split", split, "-o", "out", "--sampler", "user-rns", "--users", "8,16")
    seeds = ("--seed", "0")
    first = call_well("study", "sample-efficiency", *common, *seeds, "--set", "infinite-ae.reg=5")
    assert "user-rns 8 seed 0: done" in first.stderr
    mvae = ("--model", "mvae", "--set", "mvae.max_updates=2", "--set", "mvae.hidden=4")
    second = call_well("study", "transfer", *common, *seeds, *mvae)
    begun = [line for line in second.stderr.splitlines() if line.endswith(": begun")]
    assert sorted(begun) == [
        "all-users mvae seed 0: begun",
        "user-rns 16 mvae seed 0: begun",
        "user-rns 8 mvae seed 0: begun",
    ]
    index = (here / "out" / "index.html").read_text()
    assert "sample-efficiency/report.html" in index
    assert "transfer/report.html" in index


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            ("table1 --model nonsense", "'nonsense' is unknown"),
            ("table1 --sampler nonsense", "'nonsense' is unknown"),
            ("table1 --workers 0", "'--workers'"),
            ("table1 --users 0", "'0' is no number"),
            ("table1 --seed x", "'x' is no seed"),
            ("table1 --paper netflix", "'--paper'"),
            *((f"noise --noise {one}", f"'{one}' is no per cent") for one in ("101", "-1", "many")),
            ("table1 a --source b", "the source is given twice"),
        ],
    )
    def test_what_was_not_understood(self, split, here, arguments, line):
        assert_fails(call("study", *arguments.split(), "--split", split), line, 2)
        assert list(here.iterdir()) == []

    def test_files_that_are_no_split(self, log, here):
        study = ("study", "table1")
        assert_fails(call(*study, "--split", "absent.parquet"), "cannot be read as a split log")
        assert_fails(call(*study, "--split", log), "cannot be read as a split log")
        assert_fails(call(*study, "nothing.csv"), "'nothing.csv' is neither a file")
        short = here / "short.csv"
        short.write_text("user_id,item_id,timestamp\na,x,1\na,y,2\na,z,3\n")
        assert_fails(call(*study, short), "no user of the log has 6 different items")
        part = write_split(here / "part.parquet")
        table = pq.read_table(part)
        pq.write_table(table.filter([one != "test" for one in table["split"].to_pylist()]), part)
        assert_fails(call(*study, part), "no row's split is 'test'")

    def test_settings_that_fit_nothing(self, split, here):
        study = ("study", "table1", "--split", split, "--model", "infinite-ae")
        assert_fails(call(*study, "--set", "mvae.latent=3"), "for a model that does not run")
        assert_fails(call(*study, "--set", "distill-cf.nonsense=3"), "has no setting 'nonsense'")


def test_more_users_than_there_are_is_said(split, here, monkeypatch):
    monkeypatch.setattr("perennial.replay.study.paper.runner.run_cells", lambda *_: 1 / 0)
    result = call("study", "table1", "--split", split, "--users", "16,500,900", *FAST[:4])
    assert "--users 500, 900: the split has 40 users, so that many are taken instead" in (
        result.stderr
    )
