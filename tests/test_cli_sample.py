"""`perennial sample` and the samplers as strategies, as a person runs them."""

import pyarrow.parquet as pq
import pytest
from command_line import assert_fails, call, call_json, call_well

from perennial.memory.samplers.registry import SAMPLERS


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


def test_it_reports_the_kept_users_and_refuses_a_missing_folder(log, tmp_path):
    result = call_well("sample", log, "--users", 1000, "-o", tmp_path / "all.parquet")
    assert "40 of 40 users" in result.stdout
    missing = call("sample", log, "-o", tmp_path / "nowhere" / "all.parquet")
    assert_fails(missing, "create it first")


def test_the_seed_decides(log, tmp_path):
    kept = []
    for seed in (0, 0, 1):
        output = tmp_path / f"{len(kept)}.parquet"
        call_well("sample", log, "--users", 7, "--seed", seed, "-o", output)
        kept.append(pq.read_table(output))
    assert kept[0].equals(kept[1])
    assert not kept[0].equals(kept[2])


@pytest.mark.slow
def test_samplers_are_strategies(log, tmp_path):
    names = ["individual", *SAMPLERS]
    options = ("--periods", 4, "--strategy", ",".join(names), "--model", "infinite-ae")
    command = ("replay", log, "--store", tmp_path / "s.duckdb", *options, "--budget", 5)
    printed = call_json(*command)
    assert {one["strategy"] for one in printed["results"]} == set(names)
    assert call_json(*command, "--fresh")["results"] == printed["results"]
