"""The commands of memory and samplers, and `replay` with them, as a person runs them."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import MEMORY, assert_fails, call, call_json, call_well

from perennial.memory.samplers.registry import SAMPLERS


@pytest.mark.slow
class TestReplay:
    def test_the_memory_changes_figures_once_there_is_a_past(self, replayed):
        _, printed = replayed
        assert printed["config"]["strategy_settings"]["distill-cf"]["budget"] == 10
        figures = {
            (one["strategy"], one["eval_period"]): one["value"]
            for one in printed["results"]
            if one["model"] == "infinite-ae" and one["metric"] == "AUC"
        }
        assert figures["distill-cf", 2] == figures["individual", 2]
        assert figures["distill-cf", 4] != figures["individual", 4]

    def test_a_summary_is_made_once_for_both_models(self, replayed):
        store, _ = replayed
        shown = call_json("memory", "show", "--store", store)["summaries"]
        assert [one["period"] for one in shown] == [1, 2]
        for one in shown:
            assert one["synthetic_users"] <= 10
            assert one["non_zeros"] <= 6 * one["synthetic_users"]
            assert one["report"]["device_bytes"] > 0

    def test_recommend_uses_it(self, replayed):
        options = ("--strategy", "distill-cf", *MEMORY)
        recommend = ("recommend", "--store", replayed[0], "--user", "u3", "--k", 3)
        assert len(call_json(*recommend, *options)["recommendations"]) == 3

    def test_show_names_items_and_device(self, replayed):
        shown = call_well("memory", "show", "--store", replayed[0]).stdout
        assert re.search(r"\b1[012]\d, 1[012]\d\b", shown)
        assert "cpu" in shown.lower() or "cuda" in shown.lower()

    def test_export_has_the_identifiers(self, replayed, tmp_path):
        path = tmp_path / "memory.parquet"
        printed = call_json("memory", "export", "--store", replayed[0], "--period", 2, "-o", path)
        assert printed == {"output": str(path), "summaries": 1}
        table = pq.read_table(path).to_pydict()
        assert set(table) == {"summary", "period", "seed", "synthetic_user", "item_id", "weight"}
        assert set(table["period"]) == {2}
        assert set(table["item_id"]) <= set(range(100, 125))
        assert 0 < min(table["weight"]) <= max(table["weight"]) <= 1

    @pytest.mark.parametrize(("policy", "firsts"), [("recent:1", [1, 2]), ("rolling", [1, 1])])
    def test_the_other_policies_run(self, log, tmp_path, policy, firsts):
        store = ("--store", tmp_path / "s.duckdb")
        chosen = ("--strategy", "distill-cf", "--memory-policy", policy, "--memory-weight", 3)
        model = ("--model", "infinite-ae", "--periods", 4)
        call_well("replay", log, *store, *model, *chosen, *MEMORY)
        shown = call_json("memory", "show", *store)["summaries"]
        assert [one["first_period"] for one in shown] == firsts


@pytest.mark.slow
class TestSizes:
    def test_bytes_bound_every_memory(self, log, tmp_path):
        store = tmp_path / "s.duckdb"
        strategies = ("--strategy", "individual,distill-cf,ader,user-rns,interaction-rns")
        options = (*strategies, *MEMORY, "--periods", 4, "--model", "infinite-ae")
        command = ("replay", log, "--store", store, *options, "--budget", "1KiB")
        costs = {one["strategy"]: one for one in call_json(*command)["costs"]}
        assert costs.pop("individual")["memory_bytes"] == 0
        for one in costs.values():
            assert 700 < one["memory_bytes"] <= 1024
            # Two periods of 300 interactions: about 40 users each.
            assert 2 * 8 * 300 < one["log_bytes"] <= 2 * (8 * 300 + 4 * 40)
        text = " ".join(call_well(*command).stdout.split())
        assert "ader has 1 KiB at the last refit, the log that it stands for 5 KiB." in text
        for one in call_json("memory", "show", "--store", store)["summaries"]:
            assert 700 < one["stored_bytes"] <= 1024 < one["log_bytes"]

    def test_a_memory_larger_than_its_log_is_remarked_on(self, log, tmp_path):
        store, settings = ("--store", tmp_path / "s.duckdb"), '{"max_items": 25, "start_scale": 9}'
        options = ("--strategy", "distill-cf", "--set", f"distill-cf.distillation={settings}")
        command = ("replay", log, *store, *options, "--periods", 4, "--model", "infinite-ae")
        assert "it is larger than" in " ".join(call_well(*command).stdout.split())
        assert "2 of 2 larger than the log" in call_well("memory", "show", *store).stdout


@pytest.mark.slow
def test_distill_writes_a_whole_log(log, tmp_path):
    path = tmp_path / "summary.parquet"
    options = ("--users", 12, "--max-items", 5, "--steps", 4)
    printed = call_json("distill", log, "-o", path, *options)
    table = pq.read_table(path)
    assert table.column_names == ["synthetic_user", "item_id", "weight"]
    items = np.bincount(table["synthetic_user"].to_numpy())
    assert len(items) == printed["synthetic_users"] <= 12
    assert 1 <= items.min() <= items.max() <= 5


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "line"),
        [
            (("--memory-policy", "some"), "choose all, recent:K"),
            (
                ("--strategy", "joint", "--budget", 5),
                "setting budget is for other strategies than joint",
            ),
            (("--budget", "1KiB"), "too small for a row, which takes 1,604"),
            (("--set", "distill-cf.nothing=1"), "has no setting 'nothing'"),
            (("--strategy", "joint", "--set", "distill-cf.budget=1"), "does not run"),
            (("--set", 'distill-cf.distillation={"guide": 2}'), "guide must lie"),
        ],
    )
    def test_a_wrong_setting_is_one_line(self, log, tmp_path, options, line):
        assert_fails(call("replay", log, "--store", tmp_path / "s.duckdb", *options), line)
        assert not (tmp_path / "s.duckdb").exists()

    def test_nothing_to_export_is_said(self, log, tmp_path):
        store = tmp_path / "s.duckdb"
        call_well("ingest", log, "--store", store)
        result = call("memory", "export", "--store", store, "-o", tmp_path / "m.parquet")
        assert_fails(result, "no such summary")
        assert not (tmp_path / "m.parquet").exists()


@pytest.mark.slow
class TestAudit:
    def test_figures_are_printed_and_drawn(self, replayed, tmp_path):
        plot = tmp_path / "audit.png"
        audit = ("memory", "audit", "--store", replayed[0], "--period", 2)
        printed = call_well(*audit, "--plot", plot).stdout
        assert "periods 1–2" in printed
        assert "no figure here is a promise" in " ".join(printed.split())
        assert plot.read_bytes().startswith(b"\x89PNG")

    def test_json_has_all_of_it_and_the_seed_decides(self, replayed):
        audit = ("memory", "audit", "--store", replayed[0], "--json")
        texts = [call(*audit).stdout for _ in range(2)]
        assert texts[0] == texts[1]
        printed = json.loads(texts[0])
        assert printed["period"] == 2
        assert printed["users"] == printed["users_given"] > printed["synthetic_users"] > 0
        near = printed["nearest_jaccard"]
        assert len(near["synthetic_to_real"]) == len(near["percentiles"])
        for test in printed["membership"]["tests"]:
            assert 0 <= test["low"] <= test["auc"] <= test["high"] <= 1

    @pytest.mark.parametrize(
        ("option", "line"),
        [
            (("--period", 9), "no such summary"),
            (("--plot", "nowhere/audit.png"), "cannot be written"),
        ],
    )
    def test_refusals(self, replayed, here, option, line):
        assert_fails(call("memory", "audit", "--store", replayed[0], *option), line)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_is_a_part_of_the_log(log, tmp_path, sampler):
    output = tmp_path / "sample.parquet"
    printed = call_json("sample", log, "--sampler", sampler, "--users", 7, "-o", output)
    table = pq.read_table(output)
    assert table.column_names == ["user_id", "item_id"]
    kept = set(zip(*(column.to_pylist() for column in table.columns), strict=True))
    lines = [line.split(",") for line in log.read_text().splitlines()[1:]]
    assert kept <= {(user, int(item)) for user, item, _ in lines}
    assert printed["users"] == len({user for user, _ in kept}) == 7
    assert printed["interactions"] == table.num_rows == len(kept)
    assert printed["users_given"] == 40


def test_partitions_that_overlap_in_time_are_one_log(log, tmp_path):
    head, *lines = log.read_text().splitlines()
    for number in range(2):
        folder = tmp_path / "lake" / f"part={number}"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text("\n".join([head, *lines[number::2]]) + "\n")
    folder = tmp_path / "lake"
    found = [
        call_json("sample", source, "--users", 7, "-o", tmp_path / f"{number}.csv")
        for number, source in enumerate((log, folder))
    ]
    assert found[0]["interactions_given"] == found[1]["interactions_given"]
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()


def test_it_reports_the_kept_users_and_refuses_a_missing_folder(log, tmp_path):
    result = call_well("sample", log, "--users", 1000, "-o", tmp_path / "all.parquet")
    assert "40 of 40 users" in result.stdout
    for command in ("sample", "distill"):
        missing = call(command, log, "-o", tmp_path / "nowhere" / "all.parquet")
        assert_fails(missing, "does not exist; create it first")


def test_the_seed_decides(log, tmp_path):
    kept = []
    for seed in (0, 0, 1):
        output = tmp_path / f"{len(kept)}.parquet"
        call_well("sample", log, "--users", 7, "--seed", seed, "-o", output)
        kept.append(pq.read_table(output))
    assert kept[0].equals(kept[1])
    assert not kept[0].equals(kept[2])


def test_samplers_are_strategies(log, tmp_path):
    names = ["individual", *SAMPLERS]
    options = ("--periods", 3, "--strategy", ",".join(names), "--model", "pop")
    command = ("replay", log, "--store", tmp_path / "s.duckdb", *options, "--budget", 5)
    printed = call_json(*command)
    assert {one["strategy"] for one in printed["results"]} == set(names)
    assert call_json(*command, "--fresh")["results"] == printed["results"]
