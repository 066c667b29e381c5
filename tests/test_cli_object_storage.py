"""Period files and summaries on object storage, as a person names them."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import assert_fails, call, call_json, call_well
from object_storage import ACCESS_KEY, BUCKET, SECRET
from stored_results import make_summary

from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.periods import fingerprint, list_periods
from perennial.storage.results.summaries import insert_summary
from perennial.storage.store import Store


def lines_of(period: int) -> bytes:
    """A period of 120 lines in order of time."""
    rng = np.random.default_rng(period)
    pairs = zip(rng.integers(20, size=120), rng.integers(15, size=120), strict=True)
    start = 1_600_000_000 + period * 1000
    lines = [f"u{user},{item},{start + t}\n" for t, (user, item) in enumerate(pairs)]
    return ("user_id,item_id,timestamp\n" + "".join(lines)).encode()


@pytest.fixture
def months(object_storage) -> list[str]:
    """Three period files in a folder, and something that is none."""
    object_storage.put("months/readme.md", b"not a log")
    object_storage.put("months/older/day-0.csv", lines_of(0))
    return [object_storage.put(f"months/day-{n}.csv", lines_of(n)) for n in (1, 2, 10)]


def assert_holds(path: Path, *periods: int) -> None:
    with Store.open(":memory:") as store:
        for period in periods:
            file = path.with_name(f"expected-{period}.csv")
            file.write_bytes(lines_of(period))
            ingest_period(store, file)
            file.unlink()
        expected = fingerprint(store, len(periods))
    with Store.open(path, read_only=True) as store:
        assert len(list_periods(store)) == len(periods)
        assert fingerprint(store, len(periods)) == expected


def assert_no_copies(folder: Path) -> None:
    assert not list(folder.glob(".perennial-*"))


class TestIngest:
    def test_objects_become_periods_known_by_their_content(self, here, months):
        printed = call_well("ingest", *months[::-1], "--store", "s.duckdb", "--json").stdout
        steps = json.loads(printed)["steps"]
        assert [step["files"] for step in steps] == [["day-1.csv"], ["day-2.csv"], ["day-10.csv"]]
        assert_holds(here / "s.duckdb", 1, 2, 10)
        (here / "same.csv").write_bytes(lines_of(2))
        told = call_well("ingest", "same.csv", months[0], "--store", "s.duckdb").stdout
        assert told.count("already in the store") == 2
        assert_no_copies(here)

    def test_an_object_is_refused_by_its_address(self, here, object_storage):
        bad = object_storage.put("bad.csv", b"user_id,item_id,timestamp\n1,2\n1\n")
        result = call("ingest", bad, "--store", "s.duckdb")
        assert_fails(result, f"{bad}: ")
        assert ".perennial" not in result.stderr
        assert list(here.iterdir()) == []

    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("s3://elsewhere/a.csv", "s3://elsewhere/a.csv: there is no bucket 'elsewhere'"),
            (f"s3://{BUCKET}/a.csv", "there is no such object"),
            (f"s3://{BUCKET}/months", "is a folder"),
            (f"s3://{BUCKET}/a.csv?color=red", "no option of pyarrow's file system"),
        ],
    )
    def test_what_is_not_there_changes_nothing(self, here, months, address, words):
        call_well("ingest", months[0], "--store", "s.duckdb")
        assert_fails(call("ingest", months[1], address, "--store", "s.duckdb"), words)
        assert_holds(here / "s.duckdb", 1)
        assert_no_copies(here)

    @pytest.mark.campaign  # Arrow tries again for six seconds.
    def test_a_server_that_does_not_answer(self, here, months, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        result = call("ingest", months[0], "--store", "s.duckdb")
        assert_fails(result, f"{months[0]}: no answer (NETWORK_CONNECTION); check AWS_ENDPOINT_URL")
        assert list(here.iterdir()) == []

    def test_keys_are_nowhere(self, here, months):
        spelled = f"s3://{ACCESS_KEY}:{SECRET}@{BUCKET}/months/day-1.csv"
        result = call("--debug", "ingest", spelled, "--store", "s.duckdb")
        assert result.exit_code == 2
        assert "put them into the environment" in result.stderr
        assert SECRET not in result.output + result.stderr
        result = call_well("ingest", f"{months[0]}?scheme=http", "--store", "s.duckdb")
        content = result.stdout.encode() + (here / "s.duckdb").read_bytes()
        for kept in (SECRET, ACCESS_KEY, BUCKET, "scheme=http", ".perennial-fetched"):
            assert kept.encode() not in content


class TestFolders:
    def test_watch_takes_what_appears(self, here, months, object_storage):
        folder = f"s3://{BUCKET}/months"
        object_storage.client.delete_object(Bucket=BUCKET, Key="months/readme.md")
        call_well("watch", folder, "--store", "s.duckdb", "--once")
        assert_holds(here / "s.duckdb", 1, 2, 10)
        object_storage.put("months/day-11.csv", lines_of(11))
        object_storage.put("months/day-12.csv.part", lines_of(12))
        printed = call_well("watch", folder, "--store", "s.duckdb", "--once").stdout
        assert "day-11.csv: period 4" in printed
        assert_holds(here / "s.duckdb", 1, 2, 10, 11)

    @pytest.mark.parametrize(
        "command",
        [
            ("watch", "s3://elsewhere/a", "--store", "s.duckdb", "--once"),
            ("distill", None, "-o", "s3://elsewhere/a.parquet"),
        ],
    )
    def test_a_bucket_that_is_not_there(self, here, months, command):
        assert_fails(call(*(one or months[0] for one in command)), "there is no bucket 'elsewhere'")

    def test_a_folder_is_replayed_as_its_periods(self, here, months):
        chosen = ["--model", "pop", "--strategy", "individual", "--json"]
        printed = call_well("replay", f"s3://{BUCKET}/months", *chosen).stdout
        config = json.loads(printed)["config"]
        assert (config["source"], config["cut"]) == ("months", "files")
        assert_holds(here / "months.duckdb", 1, 2, 10)
        assert_no_copies(here)
        again = call("replay", f"s3://{BUCKET}/months/", *chosen)
        assert again.exit_code == 0
        assert "day-1.csv" not in again.stderr

    def test_a_folder_of_partitions_is_read_as_here(self, here, object_storage):
        for day in (1, 2, 10):
            object_storage.put(f"lake/day=2024-01-{day:02}/a.csv", b"user_id,item_id\n1,2\n3,4\n")
        object_storage.put("lake/_delta_log/a.csv", b"no log")
        chosen = ["--time-column", "day", "--model", "pop", "--strategy", "individual"]
        folder = f"s3://{BUCKET}/lake"
        told = call_json("replay", folder, "--cut", "day", "--store", "s.duckdb", *chosen)
        assert {one["time"] for one in told["read_as"]} == {"day"}
        with Store.open(here / "s.duckdb", read_only=True) as store:
            assert [one.interactions for one in list_periods(store)] == [2, 2, 2]
        address = f"{folder}/day=2024-01-02/a.csv"
        told = call_json("ingest", address, "--store", "t.duckdb", "--time-column", "day")["steps"]
        assert told[0]["read_as"][0]["time"] == "day"
        assert_no_copies(here)

    def test_a_folder_without_a_log_is_told_by_its_address(self, here, object_storage):
        object_storage.put("notes/readme.md", b"x")
        result = call("replay", f"s3://{BUCKET}/notes")
        assert_fails(result, f"folder s3://{BUCKET}/notes has no log in it")
        assert list(here.iterdir()) == []


class TestExport:
    def test_periods_go_there_and_come_back(self, here, months, object_storage):
        call_well("ingest", *months, "--store", "s.duckdb")
        folder = f"s3://{BUCKET}/out"
        printed = call_well("periods", "export", "--store", "s.duckdb", "-o", folder).stdout
        assert printed.splitlines()[0] == f"{folder}/period-0001.parquet: 120 interactions"
        call_well("periods", "export", "--store", "s.duckdb", "-o", folder)
        call_well("watch", folder, "--store", "again.duckdb", "--once")
        assert_holds(here / "again.duckdb", 1, 2, 10)
        assert_no_copies(here)

    def test_what_is_no_export_is_not_replaced(self, here, months, object_storage):
        call_well("ingest", *months, "--store", "s.duckdb")
        object_storage.put("out/period-0002.parquet", b"mine")
        object_storage.put("out/period-0009.parquet", b"mine")
        export = ["periods", "export", "--store", "s.duckdb", "-o", f"s3://{BUCKET}/out"]
        assert_fails(
            call(*export), f"s3://{BUCKET}/out/period-0002.parquet: is there and no export"
        )
        assert object_storage.get("out/period-0002.parquet") == b"mine"
        call_well(*export, "--force")
        there = [key for key in object_storage.keys() if key.startswith("out/p")]  # noqa: SIM118
        assert there == [f"out/period-000{n}.parquet" for n in (1, 2, 3)]


class TestSummaries:
    @pytest.mark.slow
    def test_distill_reads_and_writes_there(self, here, months, object_storage):
        target = f"s3://{BUCKET}/summaries/one.parquet"
        printed = call_well("distill", months[0], "-o", target, "--users", 5, "--steps", 1).stdout
        assert printed.startswith(f"{target}: 5 synthetic users")
        table = pq.read_table(BytesIO(object_storage.get("summaries/one.parquet")))
        assert table.column_names == ["synthetic_user", "item_id", "weight"]
        assert list(here.iterdir()) == []

    def test_sample_reads_and_writes_there(self, here, months, object_storage):
        options = ["--users", 3, "--seed", 1]
        call_well("sample", months[0], "-o", f"s3://{BUCKET}/rows.parquet", *options)
        (here / "day-1.csv").write_bytes(lines_of(1))
        call_well("sample", "day-1.csv", "-o", "here.parquet", *options)
        there = pq.read_table(BytesIO(object_storage.get("rows.parquet")))
        assert there.equals(pq.read_table("here.parquet"))

    def test_summaries_of_a_store_are_exported_there(self, here, months, object_storage):
        call_well("ingest", months[0], "--store", "s.duckdb")
        with Store.open("s.duckdb") as store:
            insert_summary(store, make_summary([[1, 0.5, 0], [0, 0, 0.25]], period=1))
        target = f"s3://{BUCKET}/memory.parquet"
        export = ["memory", "export", "--store", "s.duckdb", "-o"]
        assert call_well(*export, target).stdout == f"{target}: 1 summary\n"
        call_well(*export, "here.parquet")
        there = pq.read_table(BytesIO(object_storage.get("memory.parquet")))
        assert there.num_rows == 3
        assert there.equals(pq.read_table("here.parquet"))
