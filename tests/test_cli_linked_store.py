"""Stores that are named by a link: every command works on the real file, and leaves the link."""

from pathlib import Path

import pytest
from command_line import assert_fails, call, call_well, write_log

QUICK = ("--strategy", "individual", "--set", "infinite-ae.reg=5")
REPLAY = ("--periods", "3", "--strategy", "individual", "--model", "pop")


START = 24_000_000
"""Minute of the first event, in the year 2015."""


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live store; in the current folder is a link to it through another link."""
    folder, links = tmp_path / "data", tmp_path / "links"
    folder.mkdir()
    links.mkdir()
    for day in range(2):
        write_log(tmp_path / f"day-{day}.csv", seed=day, num_lines=200, begin=START + day * 200)
    (tmp_path / "late.csv").write_text(
        f"user_id,item_id,timestamp\nlate,1,{START * 60 + 30}\nlate,2,{START * 60 + 90}\n"
    )
    (tmp_path / "new").mkdir()
    write_log(tmp_path / "new" / "day-2.csv", num_lines=100, begin=START + 400)
    (tmp_path / "titles.csv").write_text("item_id,title\n1,one\n")
    (links / "chosen").symlink_to("../data/real.duckdb")
    (links / "log.duckdb").symlink_to("chosen")
    monkeypatch.chdir(links)
    call_well("init", "--store", folder / "real.duckdb", *QUICK)
    call_well("ingest", *sorted(tmp_path.glob("day-*")), "--store", folder / "real.duckdb")
    return folder / "real.duckdb"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("forget", ("--user", "u1")),
        ("ingest", ("../late.csv", "--late", "merge")),
        ("ingest", ("../day-1.csv", "--forget-log-after", "1")),
        ("update", ("--forget-log-after", "1")),
        ("watch", ("../new", "--once")),
        ("init", (*QUICK, "--seed", "3", "--replace")),
        ("replay", ("--strategy", "joint", "--model", "pop")),
        pytest.param(
            "study continual",
            ("--strategy", "individual,joint", "--model", "pop", "--workers", "1"),
            marks=pytest.mark.campaign,
        ),
        ("recommend", ("--user", "u1")),
        ("titles", ("../titles.csv",)),
        ("status", ()),
    ],
)
def test_a_command_leaves_the_link_and_works_on_the_real_file(real, command, options):
    before = real.stat().st_ino
    call_well(*command.split(), *options, "--store", "log.duckdb")
    assert {one.name for one in Path().iterdir()} == {"log.duckdb", "chosen"}
    assert Path("log.duckdb").resolve() == real
    rewritten = command == "forget" or "--late" in options or "--forget-log-after" in options
    assert (real.stat().st_ino != before) == rewritten
    assert {one.name for one in real.parent.iterdir()} <= {
        *("real.duckdb", "real.duckdb.lock", "real.duckdb.models")
    }


def test_nothing_of_a_forgotten_user_is_left_at_either_place(real: Path) -> None:
    call_well("forget", "--user", "u17", "--store", "log.duckdb")
    for path in (real, *real.parent.rglob("*.safetensors")):
        assert b"u17" not in path.read_bytes()
    assert_fails(call("forget", "--user", "u17", "--store", real), "user 'u17' is not in")


def test_a_store_that_a_source_names_may_be_a_link(real: Path, tmp_path: Path) -> None:
    Path("day-0.duckdb").symlink_to("../data/new.duckdb")
    log = tmp_path / "day-0.csv"
    assert_fails(call("replay", log, *REPLAY), "day-0.duckdb: a link to ../data/new.duckdb")
    (real.parent / "new.duckdb").write_bytes(real.read_bytes())
    assert_fails(call("replay", log, *REPLAY), f"{real.parent / 'new.duckdb'}")
    assert Path("day-0.duckdb").is_symlink()


@pytest.mark.parametrize(
    "command",
    [
        ("init",),
        ("ingest", "../day-0.csv"),
        ("replay", "../day-0.csv"),
        ("study", "continual", "../day-0.csv"),
        ("serve",),
        ("status",),
    ],
)
def test_a_link_to_nothing_is_refused(real: Path, command: tuple[str, ...]) -> None:
    Path("new.duckdb").symlink_to("missing.duckdb")
    Path("loop.duckdb").symlink_to("loop.duckdb")
    for name in ("new.duckdb", "loop.duckdb"):
        assert_fails(call(*command, "--store", name), f"{name}: a link to")
        assert Path(name).is_symlink()
    assert not Path("missing.duckdb").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("forget", "--user", "u1"),
        ("ingest", "../late.csv", "--late", "merge"),
        ("update", "--forget-log-after", "1"),
    ],
)
def test_a_file_with_a_second_name_is_not_written_anew(real, command):
    Path("second.duckdb").hardlink_to(real)
    result = call(*command, "--store", "second.duckdb")
    assert result.exit_code == 1
    assert "has another name (a hard link)" in result.stderr
    assert Path("second.duckdb").samefile(real)
    Path("second.duckdb").unlink()
    call_well(*command, "--store", real)
