"""The memory's commands and `replay --strategy distill-cf`, as a person runs them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call

FAST = (
    'distill-cf.distillation={"num_steps": 4, "validate_every": 2, "max_items": 6, "regs": [1.0]}'
)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """90 users with string identifiers over 24 items, one event a minute."""
    generator = np.random.default_rng(0)
    users = generator.integers(0, 90, 2500)
    groups = np.where(generator.random(2500) < 0.6, users % 4, generator.integers(0, 4, 2500))
    items = generator.integers(0, 6, 2500) * 4 + groups
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    table = {
        "user_id": [f"u{user}" for user in users],
        "item_id": [f"item {item}" for item in items],
        "timestamp": np.arange(2500) * 60 + 1_000_000_000,
    }
    pq.write_table(pa.table(table), path)
    return path


@pytest.fixture(scope="module")
def replayed(log, tmp_path_factory):
    """A store after a replay with both models."""
    store = tmp_path_factory.mktemp("store") / "s.duckdb"
    result = call(
        "replay",
        log,
        *("--store", store, "--periods", 4, "--strategy", "individual,distill-cf"),
        *("--set", FAST, "--budget", 10, "--set", "mvae.max_updates=5", "--json"),
    )
    assert result.exit_code == 0, result.stderr
    return store, json.loads(result.stdout)


@pytest.mark.slow
class TestReplay:
    def test_the_memory_joins_the_comparison(self, replayed):
        _, printed = replayed
        judged = {(one["strategy"], one["model"]) for one in printed["results"]}
        assert {("distill-cf", "infinite-ae"), ("distill-cf", "mvae")} <= judged
        settings = printed["config"]["strategy_settings"]["distill-cf"]
        assert settings["budget"] == 10

    def test_it_differs_from_individual_once_there_is_a_past(self, replayed):
        _, printed = replayed
        figures = {
            (one["strategy"], one["eval_period"]): one["value"]
            for one in printed["results"]
            if one["model"] == "infinite-ae" and one["metric"] == "AUC"
        }
        assert figures["distill-cf", 2] == figures["individual", 2]
        assert figures["distill-cf", 4] != figures["individual", 4]

    def test_a_summary_is_made_once_for_both_models(self, replayed):
        store, _ = replayed
        shown = json.loads(call("memory", "show", "--store", store, "--json").stdout)["summaries"]
        assert [one["period"] for one in shown] == [1, 2]
        assert all(one["synthetic_users"] <= 10 for one in shown)
        assert all(one["non_zeros"] <= 6 * one["synthetic_users"] for one in shown)
        assert all(one["report"]["device_bytes"] > 0 for one in shown)

    def test_the_same_replay_again_makes_nothing(self, replayed, log):
        store, printed = replayed
        again = call(
            "replay",
            log,
            *("--store", store, "--periods", 4, "--strategy", "individual,distill-cf"),
            *("--set", FAST, "--budget", 10, "--set", "mvae.max_updates=5", "--json"),
        )
        assert json.loads(again.stdout)["means"] == printed["means"]
        shown = json.loads(call("memory", "show", "--store", store, "--json").stdout)["summaries"]
        assert len(shown) == 2

    def test_recommend_uses_it(self, replayed):
        store, _ = replayed
        options = ("--strategy", "distill-cf", "--set", FAST, "--budget", 10, "--json")
        result = call("recommend", "--store", store, "--user", "u3", "--k", 3, *options)
        assert result.exit_code == 0, result.stderr
        assert len(json.loads(result.stdout)["recommendations"]) == 3

    def test_show_names_items_and_device(self, replayed):
        store, _ = replayed
        result = call("memory", "show", "--store", store)
        assert "item " in result.stdout
        assert "cpu" in result.stdout.lower() or "cuda" in result.stdout.lower()

    def test_export_has_the_identifiers(self, replayed, tmp_path):
        store, _ = replayed
        path = tmp_path / "memory.parquet"
        result = call("memory", "export", "--store", store, "--period", 2, "-o", path)
        assert result.exit_code == 0, result.stderr
        table = pq.read_table(path).to_pydict()
        assert set(table) == {"summary", "period", "seed", "synthetic_user", "item_id", "weight"}
        assert set(table["period"]) == {2}
        assert all(item.startswith("item ") for item in table["item_id"])
        assert 0 < min(table["weight"]) <= max(table["weight"]) <= 1

    @pytest.mark.parametrize("policy", ["recent:1", "rolling"])
    def test_the_other_policies_run(self, log, tmp_path, policy):
        options = ("--model", "infinite-ae", "--set", FAST, "--budget", 10, "--json")
        chosen = ("--strategy", "distill-cf", "--memory-policy", policy, "--memory-weight", 3)
        store = tmp_path / "s.duckdb"
        result = call("replay", log, "--store", store, "--periods", 4, *chosen, *options)
        assert result.exit_code == 0, result.stderr
        shown = json.loads(call("memory", "show", "--store", store, "--json").stdout)["summaries"]
        firsts = [one["first_period"] for one in shown]
        assert firsts == ([1, 1] if policy == "rolling" else [1, 2])


@pytest.mark.slow
def test_distill_writes_a_whole_log(log, tmp_path):
    path = tmp_path / "summary.parquet"
    options = ("--users", 12, "--max-items", 5, "--steps", 4, "--json")
    result = call("distill", log, "-o", path, *options)
    assert result.exit_code == 0, result.stderr
    table = pq.read_table(path)
    assert table.column_names == ["synthetic_user", "item_id", "weight"]
    users = np.bincount(table["synthetic_user"].to_numpy())
    assert len(users) == json.loads(result.stdout)["synthetic_users"] <= 12
    assert users.min() >= 1
    assert users.max() <= 5


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "line"),
        [
            (("--memory-policy", "some"), "choose all, recent:K"),
            (("--strategy", "joint", "--budget", 5), "none of joint has a memory"),
            (("--set", "distill-cf.nothing=1"), "has no setting 'nothing'"),
            (("--strategy", "joint", "--set", "distill-cf.budget=1"), "does not run"),
            (("--set", 'distill-cf.distillation={"guide": 2}'), "guide must lie"),
        ],
    )
    def test_a_wrong_setting_is_one_line(self, log, tmp_path, options, line):
        result = call("replay", log, "--store", tmp_path / "s.duckdb", *options)
        assert result.exit_code == 1
        assert line in result.stderr
        assert not (tmp_path / "s.duckdb").exists()

    def test_nothing_to_export_is_said(self, log, tmp_path):
        store = tmp_path / "s.duckdb"
        assert call("ingest", log, "--store", store).exit_code == 0
        result = call("memory", "export", "--store", store, "-o", tmp_path / "m.parquet")
        assert result.exit_code == 1
        assert "no such summary" in result.stderr
        assert not (tmp_path / "m.parquet").exists()

    def test_a_folder_that_is_not_there_is_said_before_the_work(self, log, tmp_path):
        result = call("distill", log, "-o", tmp_path / "nowhere" / "s.parquet")
        assert result.exit_code == 1
        assert "does not exist" in result.stderr


@pytest.mark.slow
class TestAudit:
    def test_it_tells_figures_and_draws_them(self, replayed, tmp_path):
        store, _ = replayed
        plot = tmp_path / "audit.png"
        result = call("memory", "audit", "--store", store, "--period", 2, "--plot", plot)
        assert result.exit_code == 0, result.stderr
        assert "periods 1–2" in result.stdout
        assert "no figure here is a promise" in " ".join(result.stdout.split())
        assert plot.read_bytes().startswith(b"\x89PNG")

    def test_json_has_all_of_it_and_the_seed_decides(self, replayed):
        store, _ = replayed
        texts = [call("memory", "audit", "--store", store, "--json").stdout for _ in range(2)]
        assert texts[0] == texts[1]
        found = json.loads(texts[0])
        assert found["period"] == 3
        assert found["users"] == found["users_given"] > found["synthetic_users"] > 0
        near = found["nearest_jaccard"]
        assert len(near["synthetic_to_real"]) == len(near["percentiles"])
        for test in found["membership"]["tests"]:
            assert 0 <= test["low"] <= test["auc"] <= test["high"] <= 1

    def test_without_such_a_summary_it_says_so(self, replayed):
        store, _ = replayed
        result = call("memory", "audit", "--store", store, "--period", 9)
        assert result.exit_code != 0
        assert "no such summary" in result.stderr

    def test_a_plot_of_an_unknown_kind_is_refused(self, replayed, tmp_path):
        store, _ = replayed
        result = call("memory", "audit", "--store", store, "--plot", tmp_path / "audit.xyz")
        assert result.exit_code != 0
        assert "cannot be written" in result.stderr
        assert "Traceback" not in result.stderr
