"""`perennial sample` and the samplers as strategies, as a person runs them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call

from perennial.memory.samplers.registry import SAMPLERS


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """60 users with string identifiers over 30 items, one event a minute."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    table = {
        "user_id": [f"u{user}" for user in generator.integers(0, 60, 900)],
        "item_id": [f"item {item}" for item in generator.integers(0, 30, 900)],
        "timestamp": np.arange(900) * 60 + 1_000_000_000,
    }
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_is_a_part_of_the_log(log, tmp_path, sampler):
    output = tmp_path / "sample.parquet"
    result = call("sample", log, "--sampler", sampler, "--users", 7, "-o", output, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    table = pq.read_table(output)
    assert table.column_names == ["user_id", "item_id"]
    kept = set(zip(*(column.to_pylist() for column in table.columns), strict=True))
    whole = pq.read_table(log)
    assert kept <= set(zip(whole["user_id"].to_pylist(), whole["item_id"].to_pylist(), strict=True))
    assert told["users"] == len(set(table["user_id"].to_pylist())) == 7
    assert told["interactions"] == table.num_rows == len(kept)
    assert told["users_given"] == 60


def test_it_says_what_it_kept_and_refuses_a_missing_folder(log, tmp_path):
    result = call("sample", log, "--users", 1000, "-o", tmp_path / "all.parquet")
    assert "60 of 60 users" in result.stdout
    result = call("sample", log, "-o", tmp_path / "nowhere" / "all.parquet")
    assert result.exit_code != 0
    assert "create it first" in result.stderr


def test_the_seed_decides(log, tmp_path):
    kept = []
    for seed in (0, 0, 1):
        output = tmp_path / f"{len(kept)}.parquet"
        assert call("sample", log, "--users", 7, "--seed", seed, "-o", output).exit_code == 0
        kept.append(pq.read_table(output))
    assert kept[0].equals(kept[1])
    assert not kept[0].equals(kept[2])


@pytest.mark.slow
def test_samplers_are_strategies(log, tmp_path):
    names = ["individual", *SAMPLERS]
    options = ("--periods", 4, "--strategy", ",".join(names), "--model", "infinite-ae")
    command = ("replay", log, "--store", tmp_path / "s.duckdb", *options, "--budget", 5, "--json")
    result = call(*command)
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    assert {one["strategy"] for one in printed["results"]} == set(names)
    again = call(*command, "--fresh")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["results"] == printed["results"]
