"""`recommend`, `titles` and `status` on a live store, as a person calls them."""

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import assert_fails, call, call_json, call_well, write_log

from perennial.storage.store import Store


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Path:
    """A live store with two published periods and some titles; none of the tests changes it."""
    folder = tmp_path_factory.mktemp("live")
    store = folder / "live.duckdb"
    settings = ("--set", "infinite-ae.reg=1")
    call_well("init", "--store", store, "--strategy", "individual", *settings)
    days = [write_day(folder / f"{day}.csv", day) for day in (1, 2)]
    call_well("ingest", *days, "--store", store)
    (folder / "titles.csv").write_text(
        "item,title\n" + "".join(f"{i},Thing {i}\n" for i in range(9))
    )
    told = call_well("titles", folder / "titles.csv", "--store", store)
    assert told.stdout == "titles.csv: 9 titles\n"
    return store


@pytest.fixture
def unwritten(live, monkeypatch):
    """Opening the store for writing, or fitting, fails the test."""
    original = Store.open

    def open_to_read(path, *, read_only=False, wait=0.0):
        assert read_only
        return original(path, read_only=True)

    def fit(*_: object) -> None:
        raise AssertionError("fitted")

    monkeypatch.setattr(Store, "open", open_to_read)
    monkeypatch.setattr("perennial.models.infinite_ae.recipe.InfiniteAE.fit", fit)
    return live


@pytest.fixture
def own(live, tmp_path) -> Path:
    """A copy of that store, to be changed."""
    store = tmp_path / "own.duckdb"
    shutil.copy(live, store)
    return store


def recommend(store: Path, *arguments: object) -> dict:
    return call_json("recommend", "--store", store, *arguments)


def write_day(path: Path, day: int) -> Path:
    return write_log(path, seed=day, num_users=30, num_lines=400, begin=1440 * day)


class TestRecommend:
    @pytest.mark.parametrize("whom", [("--user", "u7"), ("--items", "3,11")])
    def test_the_published_model_answers(self, unwritten, whom):
        told = recommend(unwritten, *whom, "--k", 5)
        assert list(told) == ["period", "published", "model", "strategy", "recommendations"]
        assert (told["period"], told["model"], told["strategy"]) == (2, "infinite-ae", "individual")
        assert told["published"].endswith("+00:00")
        found = told["recommendations"]
        assert [list(one) for one in found] == [["item", "score", "title"]] * 5
        for one in found:
            assert one["title"] == (f"Thing {one['item']}" if one["item"] < 9 else None)
        lines = call_well("recommend", "--store", unwritten, *whom, "--k", 5).stdout.splitlines()
        assert [line.split()[:2] for line in lines] == [
            [str(place), str(one["item"])] for place, one in enumerate(found, start=1)
        ]
        assert [("Thing" in line) for line in lines] == [one["item"] < 9 for one in found]

    def test_items_are_left_out(self, unwritten, tmp_path):
        everything = [
            one["item"] for one in recommend(unwritten, "--items", 3, "--k", 99)["recommendations"]
        ]
        assert 3 not in everything
        (tmp_path / "sold-out.txt").write_text(f"{everything[1]}\n\nno such item\n")
        told = recommend(
            *(unwritten, "--items", 3, "--k", 99, "--exclude", everything[0]),
            *("--exclude-file", tmp_path / "sold-out.txt"),
        )
        assert [one["item"] for one in told["recommendations"]] == everything[2:]
        kept = recommend(unwritten, "--items", 3, "--k", 99, "--keep-seen")["recommendations"]
        assert {one["item"] for one in kept} == {*everything, 3}

    def test_why(self, unwritten):
        told = recommend(unwritten, "--user", "u7", "--k", 2, "--why")["recommendations"]
        for one in told:
            assert 1 <= len(one["reasons"]) <= 3
            assert one["reasons"][0]["kind"] == "newest"
        why = ("recommend", "--store", unwritten, "--user", "u7", "--k", 2, "--why")
        text = call_well(*why).stdout
        assert len(text.splitlines()) == 2 + sum(len(one["reasons"]) for one in told)
        assert "by a user of period 2, similarity 0." in text
        assert "; both have " in text
        assert not re.search(r"\bu\d", text + json.dumps(told)), "nobody else is named"

    def test_many_users_into_a_file(self, unwritten, tmp_path):
        (tmp_path / "users.txt").write_text("u1\nu2\nstranger\nu1\n")
        arguments = ("recommend", "--store", unwritten, "--users-file", tmp_path / "users.txt")
        output = tmp_path / "recs.parquet"
        result = call_well(*arguments, "-o", output, "--k", 4)
        assert result.stdout == f"{output}: 8 recommendations for 2 users\n"
        assert result.stderr == "1 user is not in the store, and left out\n"
        table = pq.read_table(output)
        alone = recommend(unwritten, "--user", "u2", "--k", 4)["recommendations"]
        assert table["item_id"].to_pylist()[4:] == [one["item"] for one in alone]
        told = call_json(*arguments, "-o", output, "--k", 4)
        assert told == {"output": str(output), "users": 2, "unknown": 1, "rows": 8}

    def test_what_makes_no_sense(self, unwritten, tmp_path):
        arguments = ("recommend", "--store", unwritten)
        (tmp_path / "users.txt").write_text("x\ny\n")
        users = ("--users-file", tmp_path / "users.txt", "-o", tmp_path / "recs.parquet")
        assert_fails(call(*arguments), "either --user or --items", 2)
        assert_fails(call(*arguments, "--user", "u1", *users), "either --user or --items", 2)
        assert_fails(call(*arguments, *users[:2]), "--users-file and -o go together", 2)
        assert_fails(call(*arguments, "--user", "u1", *users[2:]), "go together", 2)
        assert_fails(call(*arguments, *users, "--why"), "--why goes with", 2)
        assert_fails(call(*arguments, *users), "none of the 2 users is in")
        assert_fails(call(*arguments, "--user", "x"), "user 'x' is not in")
        assert_fails(call(*arguments, "--items", "3,x,y"), "unknown items x, y")
        gone = ("--exclude-file", tmp_path / "gone.txt")
        assert_fails(call(*arguments, "--user", "u1", *gone), "gone.txt: cannot be read")
        assert not (tmp_path / "recs.parquet").exists()

    @pytest.mark.parametrize(
        "option",
        [
            ("--seed", "0"),
            ("--strategy", "individual"),
            ("--model", "infinite-ae"),
            ("--set", "infinite-ae.reg=2"),
            ("--max-rows", "12"),
        ],
    )
    def test_an_option_of_the_fit_leads_to_a_fit(self, own, option):
        told = recommend(own, "--user", "u7", *option, "--exclude", 4, "--why")
        assert list(told) == ["recommendations"]
        assert 4 not in {one["item"] for one in told["recommendations"]}
        assert told["recommendations"][0]["reasons"]

    def test_a_store_that_is_not_live_is_fitted(self, tmp_path):
        store = tmp_path / "s.duckdb"
        call_well("ingest", write_day(tmp_path / "1.csv", 1), "--store", store)
        assert list(recommend(store, "--user", "u7")) == ["recommendations"]
        assert_fails(call("recommend", "--store", store, "--user", "x"), "user 'x' is not in")

    def test_a_live_store_with_nothing_published(self, tmp_path):
        store = tmp_path / "s.duckdb"
        call_well("init", "--store", store)
        assert_fails(call("recommend", "--store", store, "--user", "x"), "no published model yet")


class TestTitles:
    def test_json_and_columns(self, own, tmp_path):
        (tmp_path / "t.tsv").write_text("a\tb\n3\tThree\n77\tSeven\n")
        arguments = ("titles", tmp_path / "t.tsv", "--store", own)
        assert_fails(call(*arguments), "t.tsv: no item column among a, b: name it")
        printed = call_json(*arguments, "--item-column", "a", "--title-column", "b")
        counts = {"titles": 2, "unknown": 1, "repeated": 0, "empty": 0, "cut": 0, "in_store": 10}
        assert printed.items() >= counts.items()
        assert (printed["read_as"]["item"], printed["read_as"]["title"]) == ("a", "b")
        (tmp_path / "bare.tsv").write_text("a\tb\n3\tThree\n")
        bare = ("titles", tmp_path / "bare.tsv", "--store", own, "--no-header", "--json")
        told = call_well(*bare)
        assert json.loads(told.stdout)["read_as"]["header"] is False
        assert "read as text, no header, tabs" in call_well(*bare[:-1]).stderr
        assert_fails(call(*arguments[:2], "--store", tmp_path / "no.duckdb"), "no such store")


class TestStatus:
    def test_a_live_store(self, unwritten):
        told = call_json("status", "--store", unwritten)
        assert (told["published_period"], told["periods_behind"]) == (2, 0)
        text = call_well("status", "--store", unwritten).stdout
        assert "infinite-ae, individual, seed 0" in text
        assert "up to date" in text
        assert "HR@10" in text
