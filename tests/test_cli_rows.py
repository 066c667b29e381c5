"""Conditions on rows and users, through the commands of two nights, a replay and a study."""

from pathlib import Path

import pytest
from command_line import assert_fails, call, call_json, call_well

START = 1_600_000_000
QUICK = ("--set", "infinite-ae.reg=5", "--strategy", "individual")
CONDITIONS = ("--min-rating", 4, "--where", "event=buy,add")


@pytest.fixture
def nights(tmp_path: Path) -> list[Path]:
    """Files in which a half of the rows counts, and what remains of them by hand."""
    found = []
    for night in range(3):
        lines = [
            f"u{user},i{(user * 3 + item * (night + 1)) % 40},{1 + (user + item) % 5},"
            f"{('buy', 'add', 'view')[item % 3]},{START + 3000 * night + 10 * item + user}\n"
            for user in range(12)
            for item in range(9)
        ]
        found.append(tmp_path / f"night-{night + 1}.csv")
        found[-1].write_text("user_id,item_id,rating,event,timestamp\n" + "".join(lines))
    return found


def test_init_fixes_the_rows_that_count_before_the_first_night(tmp_path: Path, nights) -> None:
    store = tmp_path / "s.duckdb"
    fix = ("init", "--store", store, *QUICK)
    assert_fails(call(*fix, "--rating-column", "rating"), "--rating-column is for --min-rating")
    for given in (("--min-rating", 3), ("--min-rating", 3), ()):
        assert "read with --min-rating 3" in call_well(*fix, *given).stdout
    assert_fails(call(*fix, "--min-rating", 4), "is read with --min-rating 3; leave")
    assert call_json("status", "--store", store)["conditions"] == "--min-rating 3"
    assert "read with --min-rating 4" in call_well(*fix, "--min-rating", 4, "--replace").stdout
    once = ("--periods", 2, "--strategy", "individual", "--model", "pop")
    first, again = (call_json("replay", nights[0], "--store", store, *once) for _ in range(2))
    assert first["read_as"][0]["min_rating"] == 4
    assert (again["read_as"], again["results"]) == ([], first["results"])
    assert_fails(call(*fix, "--min-rating", 3, "--replace"), "is read with --min-rating 4; leave")


def by_hand(path: Path) -> Path:
    head, *lines = path.read_text().splitlines()
    kept = [one for one in lines if one.split(",")[2] in "45" and one.split(",")[3] != "view"]
    other = path.with_name(f"kept-{path.name}")
    other.write_text("\n".join([head, *kept]) + "\n")
    return other


def figures(store: Path) -> object:
    status = call_json("status", "--store", store)
    return [(one["metric"], one["k"], one["values"]) for one in status["metrics"]], status["log"]


@pytest.mark.parametrize("fixed_by", ["init", "ingest"])
def test_the_second_night_counts_as_the_first(tmp_path: Path, nights, fixed_by: str) -> None:
    filtered, plain = tmp_path / "filtered.duckdb", tmp_path / "plain.duckdb"
    call_well("init", "--store", plain, *QUICK)
    told = call_well("init", "--store", filtered, *QUICK, *CONDITIONS[: 4 * (fixed_by == "init")])
    assert ("; files are read with --min-rating 4" in told.stdout) is (fixed_by == "init")
    given = CONDITIONS if fixed_by == "ingest" else ()
    (first, _) = call_json("ingest", nights[0], "--store", filtered, *given)["steps"]
    assert (first["filtered"], first["rejected"]) == (108 - first["interactions"], 0)
    assert first["read_as"][0]["where"] == {"event": ["add", "buy"]}
    assert (first["read_as"][0]["rating"], first["read_as"][0]["min_rating"]) == ("rating", 4.0)
    assert first["remarks"] == []
    second = call_well("ingest", nights[1], "--store", filtered)
    assert "(only rating ≥ 4 and event = add or buy does)" in second.stderr
    assert "rows do not count" in second.stdout
    folder = tmp_path / "incoming"
    folder.mkdir()
    nights[2].rename(folder / nights[2].name)
    call_well("watch", folder, "--store", filtered, "--once")
    kept = [by_hand(path) for path in (*nights[:2], folder / nights[2].name)]
    for path in kept:
        assert "column 'rating' is ignored" in call_well("ingest", path, "--store", plain).stderr
    assert figures(filtered) == figures(plain)
    assert "--min-rating 4 --where event=add,buy" in call_well("status", "--store", filtered).stdout
    assert call_json("status", "--store", plain)["conditions"] is None


@pytest.mark.parametrize("other", [("--min-rating", 3), ("--where", "event=buy")])
def test_other_conditions_change_nothing(tmp_path, nights, other):
    store = tmp_path / "s.duckdb"
    call_well("ingest", nights[0], "--store", store, *CONDITIONS)
    refused = call("ingest", nights[1], "--store", store, *other)
    assert_fails(refused, "is read with --min-rating 4 --where event=add,buy")
    assert refused.stderr.count("\n") == 1
    assert len(call_json("periods", "--store", store)["periods"]) == 1
    assert_fails(call("ingest", nights[0], "--store", store, "--where", "event"), "no condition")


@pytest.mark.parametrize(
    "command",
    [
        ("replay", "--periods", 2, *QUICK, "--model", "pop"),
        ("sample", "--sampler", "head-user", "--users", 3, "-o", "out.parquet"),
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_reads_a_log_takes_them(here: Path, nights, command) -> None:
    name, *rest = command
    rest = [one for one in rest if one != "infinite-ae.reg=5" and one != "--set"]
    told = call_json(name, nights[0], *rest, *CONDITIONS)
    assert told["read_as"][0]["filtered"] > 0
    assert told["read_as"][0]["rows"] == 108


def test_users_with_few_interactions_train_no_live_model(tmp_path: Path, nights) -> None:
    store = tmp_path / "s.duckdb"
    call_well("init", "--store", store, *QUICK, "--min-user-events", 10)
    first = call_well("ingest", nights[0], "--store", store)
    assert "period 1: no fit, since no user has enough interactions yet" in first.stdout
    second = call_well("ingest", nights[1], "--store", store)
    assert "period 2: refitted and published" in second.stdout
    third = call_well("ingest", nights[2], "--store", store)
    assert "period 3: the model of period 2 evaluated on it: HR@10" in third.stdout
    assert "users with at least 10 interactions" in call_well("status", "--store", store).stdout
    assert call_json("report", "--store", store)["config"]["min_user_events"] == 10
    assert_fails(
        call("update", "--store", store, "--forget-log-after", 1), "leave --forget-log-after out"
    )


@pytest.mark.campaign
def test_a_study_leaves_them_out_too(here: Path, nights) -> None:
    options = ("--periods", 3, "--model", "pop", "--strategy", "individual,joint", "--seed", 0)
    told = call_json(
        *("study", "continual", nights[0], *options, "--min-user-events", 2, "--workers", 1)
    )
    assert told["config"]["min_user_events"] == 2
