"""A live store from Python, beside one of the command line."""

import pyarrow.csv
import pytest
from command_line import call_json, call_well, write_log

import perennial as pn


@pytest.fixture
def days(tmp_path):
    return [
        write_log(tmp_path / f"{day}.csv", seed=day, num_lines=400, begin=1440 * day)
        for day in (1, 2)
    ]


@pytest.fixture
def store(tmp_path):
    opened = pn.open_store(tmp_path / "live.duckdb")
    opened.init("ease", settings={"ease": {"regs": [10.0]}})
    return opened


def test_it_becomes_the_store_of_the_command_line(store, days, tmp_path):
    other = tmp_path / "other.duckdb"
    call_well("init", "--store", other, "--model", "ease", "--set", "ease.regs=[10.0]")
    call_well("ingest", *days, "--store", other)
    store.ingest(days[0], pyarrow.csv.read_csv(days[1]))
    own, printed = store.status(), call_json("status", "--store", other)
    assert own.config == printed["config"]
    assert [one.mean for one in own.metrics] == [one["mean"] for one in printed["metrics"]]
    listed = call_json("recommend", "--store", other, "--user", "u7")["recommendations"]
    found = store.recommend("u7")
    assert [(one.item, one.score) for one in found] == [
        (one["item"], one["score"]) for one in listed
    ]


def test_a_loaded_model_answers_as_the_store(store, days):
    store.ingest(*days)
    model = store.load_model()
    assert model.recommend("u7", k=3) == store.recommend("u7", k=3)
    assert model.recommend(items=[3, 5]) == store.recommend(items=[3, 5])


def test_update_catches_up_after_files_without_training(store, days):
    assert len(store.ingest(*days, train=False)) == 2
    assert store.status().published_period is None
    assert [step.period for step in store.update()] == [1, 2]
    assert store.status().published_period == 2


def test_a_forgotten_user_is_unknown(store, days):
    store.ingest(*days)
    erased, *_ = store.forget("u7")
    assert erased.interactions > 0
    with pytest.raises(pn.UserError, match="'u7' is not in the store"):
        store.recommend("u7")


def test_the_default_strategy_is_that_of_init(tmp_path, days):
    store = pn.open_store(tmp_path / "other.duckdb")
    store.init("pop", forget_log_after=1)
    steps = store.ingest(*days)
    assert store.status().strategy == "active"
    assert steps[-1].last == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda store, day: store.status(), "no such store"),
        (lambda store, day: store.ingest("nowhere.csv"), "nowhere.csv: cannot be read"),
        (lambda store, day: store.ingest(day, min_rating=4), "rating"),
        (lambda store, day: store.ingest(day) and store.recommend("u7"), "has no live model"),
        (lambda store, day: store.ingest(day) and store.update(), "has no live model"),
        (lambda store, day: store.init("ease", max_rows=0), "max_rows is 0"),
    ],
)
def test_mistakes_are_errors_of_the_user(tmp_path, days, call, words):
    with pytest.raises(pn.UserError) as error:
        call(pn.open_store(tmp_path / "new.duckdb"), days[0])
    assert words in str(error.value)
