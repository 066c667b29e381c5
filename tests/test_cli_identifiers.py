"""Identifiers beyond 64 bits, and numbers as text, through the commands that take or give them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call_json, call_well

from perennial.replay.study.paper.split import SplitRequest, open_split
from perennial.storage.base import ignore_progress

USERS = [str(10**30 + number) for number in range(30)]
ITEMS = [str(2**63 + number) for number in range(20)]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A log of integers that no column of 64 bits holds."""
    draw = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("large") / "large.csv"
    rows = (f"{draw.choice(USERS)},{draw.choice(ITEMS)},{at}\n" for at in range(400))
    path.write_text("user_id,item_id,timestamp\n" + "".join(rows))
    return path


@pytest.fixture(scope="module")
def store(large):
    """A live store of it."""
    path = large.with_name("live.duckdb")
    call_well("init", "--store", path, "--model", "pop", "--strategy", "joint")
    call_well("ingest", large, "--store", path)
    return path


def ids_in(path):
    """Return the identifiers in the columns of a Parquet file, which are all text."""
    table = pq.read_table(path)
    columns = [table[name] for name in ("user_id", "item_id") if name in table.column_names]
    assert {column.type for column in columns} == {pa.string()}
    return {name for column in columns for name in column.to_pylist()}


def test_json_gives_what_is_taken_back(store):
    recommend = ("recommend", "--store", store, "--keep-seen", "--k", 5)
    items = [one["item"] for one in call_json(*recommend, "--user", USERS[0])["recommendations"]]
    assert set(items) <= set(ITEMS)
    again = call_json(*recommend, "--items", ",".join(items), "--exclude", f"{items[1]}.0")
    assert items[1] not in [one["item"] for one in again["recommendations"]]


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "--sampler", "user-rns", "--users", 5),
        ("distill", "--users", 5, "--max-items", 4, "--steps", 2),
    ],
    ids=lambda command: command[0],
)
def test_a_log_becomes_a_file(large, tmp_path, command):
    name, *options = command
    call_well(name, large, *options, "-o", tmp_path / "out.parquet")
    assert ids_in(tmp_path / "out.parquet") <= {*USERS, *ITEMS}


def test_recommendations_for_many_users(store, tmp_path):
    names = tmp_path / "users.txt"
    names.write_text(f"{USERS[0]}\n{USERS[1]}.0\n{USERS[1]}\nnobody\n")
    options = ("--store", store, "--users-file", names, "-o", tmp_path / "out.parquet")
    report = call_json("recommend", *options)
    assert (report["users"], report["unknown"]) == (2, 1)
    assert ids_in(tmp_path / "out.parquet") <= {*USERS[:2], *ITEMS}


def test_a_split_is_written(large, tmp_path):
    split = open_split(SplitRequest(tmp_path, source=str(large)), tmp_path, ignore_progress)
    assert ids_in(split.path) <= {*USERS, *ITEMS}
