"""`init`, `ingest`, `update`, `watch` and `forget` as a person runs them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import assert_fails, call, call_json, call_well

from perennial import cli
from perennial.storage.access import WriterLock
from perennial.storage.errors import StorageUnavailable

ROOT = Path(cli.__file__).resolve().parent
START = 1_600_000_000
QUICK = ("--set", "infinite-ae.reg=5", "--strategy", "individual")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for period in range(3):
        begin = START + 3000 * period
        lines = [
            f"u{user},i{(user * 3 + item * (period + 1)) % 11},{begin + 10 * item + user}\n"
            for user in range(8)
            for item in range(4)
        ]
        found.append(tmp_path / f"day-{period + 1}.csv")
        found[-1].write_text("user_id,item_id,timestamp\n" + "".join(lines))
    return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "live.duckdb"
    call_well("init", "--store", path, *QUICK)
    return path


def test_init_chooses_a_strategy_and_gives_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "kept.duckdb"
    assert "joint by default: the log is kept" in call_well("init", "--store", path).stdout
    status = call_json("status", "--store", path)
    assert status["strategy"] == "joint"
    assert status["why_default"].startswith("the log is kept")
    printed = call_json("init", "--store", path)
    assert (printed.pop("run"), printed.pop("keep_histories")) == (1, 0)
    assert printed == {name: status[name] for name in printed}
    assert "by default" in call_well("status", "--store", path).stdout
    # The strategy is now given.
    assert "by default" not in call_well("init", "--store", path, "--strategy", "joint").stdout
    for name, options, wanted in (
        ("dropped", ("--forget-log-after", "2"), "distill-cf"),
        ("sums", ("--forget-log-after", "2", "--model", "ease"), "active"),
        ("memory", ("--budget", "100"), "distill-cf"),
        ("setting", ("--set", "distill-cf.memory_weight=2"), "distill-cf"),
    ):
        made = call_well("init", "--store", tmp_path / f"{name}.duckdb", *options)
        assert f"{wanted} by default: " in made.stdout


def test_the_same_init_on_another_machine_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "live.duckdb"
    for memory, options in ((8, ()), (4, ()), (4, ("--memory-limit", "6GiB", "--replace"))):
        size = memory * 2**30
        monkeypatch.setattr("perennial.replay.machine.total_memory", lambda size=size: size)
        run = call_json("init", "--store", path, *options)["run"]
        assert run == (2 if options else 1)
    assert_fails(call("init", "--store", path, "--memory-limit", "5GiB"), "is live with")


def test_init_says_what_comes_next(tmp_path: Path, files: list[Path]) -> None:
    path = tmp_path / "live.duckdb"
    done = call_well("init", "--store", path, *QUICK)
    assert "live with individual, infinite-ae and seed 0" in done.stdout
    assert "next: perennial ingest FILE..." in done.stdout
    call_well("init", "--store", path, *QUICK)
    assert_fails(call("init", "--store", path, "--strategy", "joint"), "--replace begins anew")
    held = tmp_path / "held.duckdb"
    call_well("ingest", files[0], "--store", held)
    assert "next: perennial update" in call("init", "--store", held, *QUICK).stdout


def test_each_file_is_judged_and_learnt(store: Path, files: list[Path]) -> None:
    done = call_well("ingest", *files, "--store", store)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        name for number, path in enumerate(files, 1) for name in (path.name, f"period {number}")
    ]
    assert "the model of period 1 evaluated on it: HR@10" in lines[3]
    assert "refitted and published" in lines[5]
    assert call_well("ingest", *files, "--store", store).stdout.count("nothing changed") == 3
    assert "not finished" not in call_well("report", "--store", store).stdout


def test_a_program_reads_json(store: Path, files: list[Path]) -> None:
    steps = call_json("ingest", *files[:2], "--store", store)["steps"]
    assert [step["step"] for step in steps] == ["ingested", "caught up"] * 2
    assert steps[1]["evaluated"] is None
    assert {one["metric"] for one in steps[3]["evaluated"]} >= {"HR", "nDCG", "PSP", "AUC"}
    assert steps[3]["published"]["fit_key"]
    erased = call_json("forget", "--user", "u1", "--store", store)["steps"]
    assert erased[0]["step"] == "erased"
    assert "u1" not in json.dumps(erased)


def test_update_catches_up(store: Path, files: list[Path]) -> None:
    taken = call("ingest", *files, "--store", store, "--no-train")
    assert "period" in taken.stdout
    assert "published" not in taken.stdout
    assert call("update", "--store", store).stdout.count("refitted and published") == 3
    assert call("update", "--store", store).stdout == "up to date\n"


def test_without_a_live_model_files_are_only_taken(tmp_path: Path, files: list[Path]) -> None:
    path = tmp_path / "plain.duckdb"
    assert "published" not in call("ingest", *files, "--store", path).stdout
    assert_fails(call("update", "--store", path), "perennial init")
    assert_fails(
        call("ingest", files[0], "--store", path, "--forget-log-after", "1"), "perennial init"
    )


def test_old_interactions_go(store: Path, files: list[Path]) -> None:
    done = call_well("ingest", *files, "--store", store, "--forget-log-after", "1")
    assert "interactions up to period 2 dropped\n" in done.stdout
    assert_fails(call("replay", "--store", store, *QUICK), "only from period 3 on")


@pytest.mark.parametrize("number", [2, 9])
def test_histories_of_users_stay(tmp_path: Path, files: list[Path], number: int) -> None:
    store, whole = tmp_path / "live.duckdb", tmp_path / "whole.duckdb"
    with files[0].open("a") as stream:
        stream.writelines(f"away,i{item},{START + at}\n" for at, item in enumerate("14234"))
    options = ("--forget-log-after", 1, "--keep-histories", number)
    call_well("init", "--store", store, *QUICK, *options)
    call_well("init", "--store", whole, *QUICK)
    told = call_well("ingest", *files, "--store", store).stdout
    assert f"period 2 dropped, except each user's last {number} items\n" in told
    call_well("ingest", *files, "--store", whole)
    items = "i3,i4" if number == 2 else "i1,i2,i3,i4"
    answers = [
        call_json("recommend", "--store", path, *who)["recommendations"]
        for path, who in (
            (store, ("--user", "away")),
            (store, ("--items", items)),
            (whole, ("--items", items)),
        )
    ]
    assert answers[0] == answers[1] == answers[2]
    status = call_json("status", "--store", store)
    histories = status["histories"]
    assert (status["forget_log_after"], histories["items"]) == (1, number)
    assert histories["bytes"] == 16 * histories["interactions"]
    held = f"{histories['interactions']:,} interactions of dropped periods"
    assert held in call_well("status", "--store", store).stdout
    assert_fails(
        call("periods", "export", "--store", store, "--period", 1, "-o", tmp_path), "no longer"
    )
    call_well("forget", "--user", "away", "--store", store)
    left = call_json("status", "--store", store)["histories"]["interactions"]
    assert left == histories["interactions"] - len(items.split(","))


def test_histories_without_dropping_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "live.duckdb"
    assert_fails(call("init", "--store", path, *QUICK, "--keep-histories", 5), "--forget-log-after")
    assert not path.exists()


def test_late_files_are_refused_or_merged(store: Path, files: list[Path], tmp_path: Path) -> None:
    call_well("ingest", *files, "--store", store)
    late = tmp_path / "late.csv"
    late.write_text("user_id,item_id,timestamp\nlate,i1,1600003005\nlate,i2,1600003006\n")
    refused = call("ingest", late, "--store", store)
    assert refused.exit_code == 1
    assert "older than period 3" in refused.stderr
    assert refused.stderr.count("\n") == 1
    merged = call_well("ingest", late, "--store", store, "--late", "merge")
    assert "late.csv: period 2, 2 interactions" in merged.stdout
    assert "period 3: refitted and published" in merged.stdout
    assert "part of earlier periods" in call("ingest", late, "--store", store).stdout


def test_forget_reads_well(store: Path, files: list[Path]) -> None:
    call_well("ingest", *files, "--store", store)
    done = call_well("forget", "--user", "u3", "--store", store)
    assert "user erased: 12 interactions from period 1 on" in done.stdout
    assert "period 3: refitted and published" in done.stdout
    assert_fails(call("forget", "--user", "u3", "--store", store), "user 'u3' is not in")


def test_watch_takes_what_is_there_once(store: Path, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    for path in files:
        path.rename(folder / path.name)
    (folder / "bad.csv").write_text("nothing\nto see\n")
    done = call("watch", folder, "--store", store, "--once")
    assert (done.exit_code, done.stdout.count("refitted and published")) == (1, 3)
    assert "bad.csv" in done.stderr
    assert "error: " in done.stderr
    assert call("watch", tmp_path / "none", "--store", store, "--once").exit_code == 1


def test_watch_tries_again_what_the_store_did_not_take(store, files, monkeypatch):
    asked: list[str] = []

    def take(_store: Path, paths: tuple[Path, ...], *_: object) -> None:
        asked.append(paths[0].name)
        if len(asked) <= 2:
            raise StorageUnavailable("the disk is full")

    def sleep(_seconds: float) -> None:
        if len(asked) >= 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("perennial.replay.cli.live._ingest", take)
    monkeypatch.setattr("time.sleep", sleep)
    done = call("watch", files[0].parent, "--store", store, "--settle", "0")
    # The later files wait for the first.
    assert asked[:5] == ["day-1.csv", "day-1.csv", "day-1.csv", "day-2.csv", "day-3.csv"]
    assert done.stderr.count("the disk is full") == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_watch_goes_on_until_interrupted(store: Path, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    command = [sys.executable, str(ROOT / "cli.py"), "watch", str(folder), "--store", str(store)]
    with subprocess.Popen(  # noqa: S603
        [*command, "--settle", "0.2", "--every", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for path in files[:2]:
                path.rename(folder / path.name)
                assert path.name in process.stdout.readline()
                assert "published" in process.stdout.readline()
                # Others may read at any moment.
                call_well("periods", "--store", store)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode == 130
        finally:
            process.kill()


@pytest.mark.slow
def test_a_second_writer_is_told_at_once_and_readers_work(store, files, tmp_path, monkeypatch):
    acquire, waits = WriterLock.acquire, list[float]()
    monkeypatch.setattr(
        WriterLock, "acquire", lambda lock, wait: (waits.append(wait), acquire(lock, wait))
    )
    call_well("ingest", files[0], "--store", store)
    code = (
        "import sys; from perennial.storage.opening import open_for_writing\n"
        "with open_for_writing(__import__('pathlib').Path(sys.argv[1])):\n"
        "    print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        for command in (["ingest", files[1]], ["update"], ["forget", "--user", "u1"]):
            assert_fails(call(*command, "--store", store), "another process is writing")
        assert waits[1:] == [0.0] * 3
        for command in (["status"], ["recommend", "--user", "u1", "--k", "2"]):
            call_well(*command, "--store", store)
        command = [sys.executable, str(ROOT / "cli.py"), "ingest", str(files[1])]
        with subprocess.Popen(  # noqa: S603
            [*command, "--store", str(store), "--wait"], stdout=subprocess.PIPE, text=True
        ) as waiting:
            time.sleep(1)
            assert waiting.poll() is None
            writer.communicate()
            assert waiting.stdout is not None
            assert "period 2" in waiting.stdout.readline()
            waiting.communicate(timeout=60)
            assert waiting.returncode == 0
