"""A class from the module of a user, and ∞-AE on centres, from the command line."""

import json
import sys

import pytest
from command_line import assert_fails, call, call_json, call_well

OWN = """
from dataclasses import dataclass
from perennial.models.pop import Pop
from perennial.replay.strategies.baselines import Individual

@dataclass(frozen=True)
class Shelf(Pop):
    name = "shelf"
    smoothing: float = 0.0

    @property
    def settings(self):
        return {"smoothing": self.smoothing}

@dataclass(frozen=True)
class Newest(Individual):
    name = "newest"
    share: float = 1.0
"""
CHAIN = ("--model", "own_shop.classes:Shelf", "--strategy", "own_shop.classes:Newest")
SETTINGS = ("own_shop.classes:Shelf.smoothing=2.5", "own_shop.classes:Newest.share=0.5")
CHOSEN = (*CHAIN, *(part for one in SETTINGS for part in ("--set", one)))


@pytest.fixture
def own(log, here, monkeypatch):
    """A current folder with a store of three periods; the module is in another folder."""
    package = here / "elsewhere" / "own_shop"
    package.mkdir(parents=True)
    (package / "classes.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.syspath_prepend(package.parent)
    call_well("periods", "export", log, "--periods", 3, "-o", "periods")
    call_well("ingest", *sorted(here.glob("periods/*")), "--store", "own.duckdb")
    yield here
    for name in [name for name in sys.modules if name.startswith("own_shop")]:
        del sys.modules[name]


def test_a_replay_records_names_and_settings(own):
    names = (("--model", f"{CHAIN[1]},pop"), ("--strategy", f"{CHAIN[3]},individual"))
    settings = CHOSEN[len(CHAIN) :]
    printed = call_json("replay", "--store", "own.duckdb", *names[0], *names[1], *settings)
    assert printed["config"]["models"][0] == {"name": "shelf", "settings": {"smoothing": 2.5}}
    assert printed["config"]["strategies"] == ["newest", "individual"]
    assert printed["config"]["strategy_settings"] == {"newest": {"share": 0.5}}
    values = {
        (one["strategy"], one["model"]): one["mean"]
        for one in printed["means"]
        if one["metric"] == "AUC"
    }
    assert values.keys() == {(s, m) for s in ("newest", "individual") for m in ("shelf", "pop")}
    assert len(set(values.values())) == 1


def test_a_live_store_restores_its_own_classes(own):
    init = call_well("init", "--store", "own.duckdb", *CHOSEN)
    assert "live with newest, shelf and seed 0" in init.stdout
    call_well("update", "--store", "own.duckdb")
    recommend = ("recommend", "--store", "own.duckdb", "--user", "u7")
    published, fitted = (call_json(*recommend, *more) for more in ((), CHOSEN))
    assert published["model"] == CHAIN[1]
    assert published["recommendations"] == fitted["recommendations"]


@pytest.mark.campaign
def test_workers_import_the_module(own, log):
    replay = ("replay", "--store", "own.duckdb", *CHOSEN)
    result = call_well(*replay, "--workers", 2, "--json")
    assert "newest seed 0: done" in result.stderr
    assert json.loads(result.stdout)["results"] == call_json(*replay, "--fresh")["results"]
    table = ("study", "table1", log, *CHAIN[:2], *CHOSEN[4:6], "--seed", 0, "--workers", 2)
    assert {row["model"] for row in call_json(*table)["table"]} == {CHAIN[1]}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:Model", "cannot be imported: No module named 'no_such_module'"),
        ("json:NoSuchClass", "cannot be imported: module 'json' has no attribute 'NoSuchClass'"),
        ("json:loads", "is no class with a method 'fit'"),
        ("own_shop.classes:Newest", "is no class with a method 'fit'"),
    ],
)
def test_a_bad_target_is_one_line(own, target, reason):
    line = f"model '{target}' {reason}"
    assert_fails(call("replay", "--store", "own.duckdb", "--model", target), line)
    assert_fails(call("init", "--store", "own.duckdb", "--model", target), line)


def test_two_classes_of_one_name_do_not_share_a_run(own):
    models = ("--model", "pop,perennial.models.pop:Pop", "--strategy", "individual")
    result = call("replay", "--store", "own.duckdb", *models)
    assert_fails(result, "a model is given twice; name each once")


CENTRES = ("--model", "infinite-ae", "--set", "infinite-ae.centres=10", "--periods", 3)
ONE = (*CENTRES, "--set", "infinite-ae.reg=5", "--strategy", "individual")


def test_a_replay_records_its_centres_and_keeps_its_figures(log, here):
    printed = call_json("replay", log, *ONE)
    (model,) = printed["config"]["models"]
    assert model["settings"]["centres"] == 10
    assert call_json("replay", log, *ONE, "--fresh")["results"] == printed["results"]
    exact = call_json("replay", log, *ONE[:2], *ONE[4:])
    assert "centres" not in exact["config"]["models"][0]["settings"]
    assert exact["results"] != printed["results"]


def test_recommendations_name_the_rows_they_come_from(log, here):
    call_well("ingest", log, "--store", "s.duckdb")
    items = ("--items", "101,102", "--k", 3, *CENTRES[:4], *ONE[6:], "--why")
    printed = call_json("recommend", "--store", "s.duckdb", *items)
    assert [len(one["reasons"]) for one in printed["recommendations"]] == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((*CENTRES, "--strategy", "ader"), "leave --set infinite-ae.centres out"),
        ((*ONE, "--memory-limit", "1MiB"), "raise --memory-limit"),
    ],
)
def test_refusals_are_one_line(log, here, options, line):
    assert_fails(call("replay", log, *options, "--json"), line)
