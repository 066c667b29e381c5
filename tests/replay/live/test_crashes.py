"""Processes killed at any moment: the store is whole, and the run resumes to the same end."""

import dataclasses
import sys
from collections import Counter

import pytest
from click.testing import CliRunner

from benchmarks import crash_campaign
from benchmarks.crash.campaign import Campaign, Outcome, run_campaign, start_worker
from benchmarks.crash.content import hash_arrays, hash_file
from benchmarks.crash.draw import LONGEST_DELAY, Place, draw_kills
from benchmarks.crash.look import Left
from benchmarks.crash.points import ALL_PHASES, Point
from benchmarks.crash.scenario import SENTINELS, write_files
from perennial import cli
from perennial.storage.log.rewrite import drop_events, erase_users
from perennial.storage.store import Store

KILLS = 14
SEED = 1

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("crashes")


@pytest.fixture(scope="module")
def campaign(folder):
    """A small campaign of the one scenario that comes through every phase."""
    return run_campaign(folder, KILLS, SEED, 2, scenarios=["distill-cf"])


@pytest.mark.campaign
def test_nothing_is_lost_and_nothing_differs(campaign):
    assert [crash_campaign.describe(one) for one in campaign.outcomes if one.faults] == []


@pytest.mark.campaign
def test_every_phase_is_hit(campaign):
    assert campaign.missed == ()
    assert sum(one.killed for one in campaign.outcomes) == KILLS
    # Places that nothing but the names of functions ties to the code.
    labels = {point.label for point in campaign.points.values()}
    assert labels >= {
        *("before COMMIT", "after COMMIT", "after write_synced", "after copyfile", "after step"),
        *("before the rename to live.duckdb", "after the rename to live.duckdb.snapshot"),
        *("before fit", "after save_progress", "before close", "before connect"),
        *("after removing fit file", "after removing distill file", "after telling"),
    }


@pytest.mark.campaign
def test_a_process_that_is_not_killed_is_a_finding(folder, campaign):
    beyond = sum(place.step == 0 for place in campaign.points)
    job = {"scenario": "distill-cf", "step": 0, "point": beyond, "delay": 0.0, "from_start": False}
    with start_worker(folder / "code", folder) as worker:
        answer = worker.request(job)
    assert not answer["killed"]
    assert "was not reached" in answer["faults"][0]
    kill = dataclasses.replace(campaign.outcomes[0].kill, place=Place("distill-cf", 0, beyond))
    outcome = Outcome(kill, "beyond", **answer)
    failed = Campaign(campaign.points, [outcome])
    assert failed.findings == (outcome,)
    assert set(failed.missed) == ALL_PHASES


def points(**phases):
    return {
        Place("toy", 0, number): Point(phase, "somewhere", 0, 0)
        for number, phase in enumerate(
            phase for phase, count in phases.items() for _ in range(count)
        )
    }


def test_phases_take_turns_and_are_covered_from_end_to_end():
    there = points(ingest=100, forget=3)
    kills = draw_kills(there, 40, 0)
    assert kills == draw_kills(there, 40, 0)
    assert kills != draw_kills(there, 40, 1)
    assert [kill.number for kill in kills] == list(range(40))
    assert Counter(kill.phase for kill in kills[:4]) == {"ingest": 2, "forget": 2}
    drawn = [kill.place.point for kill in kills if kill.phase == "ingest"]
    assert sorted(point // 5 for point in drawn) == list(range(20))
    assert {kill.place.point for kill in kills if kill.phase == "forget"} == {100, 101, 102}
    assert {kill.delay == 0 for kill in kills} == {True, False}
    assert all(0 <= kill.delay < LONGEST_DELAY for kill in kills)


def left(point, told, late=False):
    """Two commits, the first of which is told of."""
    passed = [("", "", commits, lines) for commits, lines in ((0, 0), (1, 0), (1, 1), (2, 1))]
    return Left(passed, ["none", "one", "two"], point, told, late, new=False)


@pytest.mark.parametrize(
    ("state", "point", "told", "late", "words"),
    [
        ("none", 0, 0, False, None),
        ("one", 1, 0, False, None),
        ("none", 1, 0, False, "as after commit 0, not 1"),
        ("two", 1, 0, False, "as after commit 2, not 1"),
        ("two", 1, 0, True, None),
        ("none", 0, 1, True, "as after commit 0, not 1"),
        ("half", 0, 0, True, "never holds"),
    ],
    ids=["before", "after", "lost", "too early", "late", "told and lost", "partial"],
)
def test_what_was_committed_must_be_there_and_nothing_else(state, point, told, late, words):
    faults = left(point, told, late).judge(state)
    assert (faults == []) if words is None else (words in faults[0])


QUICK = ("--strategy", "individual", "--model", "infinite-ae", "--set", "infinite-ae.reg=5")


def perennial(*words):
    """Output of a command."""
    done = CliRunner().invoke(cli.main, [str(word) for word in words], prog_name="perennial")
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_lost_model_of_the_newest_period_is_published_again(tmp_path):
    write_files(tmp_path / "files", 0)
    store = tmp_path / "live.duckdb"
    perennial("init", "--store", store, *QUICK)
    perennial("ingest", tmp_path / "files" / "day-1.csv", "--store", store)
    (file,) = tmp_path.glob("live.duckdb.models/fit-*")
    whole, model = file.read_bytes(), hash_arrays(file)
    for damage in (file.unlink, lambda: file.write_bytes(whole[:-1])):
        damage()
        assert "period 1: refitted and published" in perennial("update", "--store", store)
        assert hash_arrays(file) == model
        assert perennial("update", "--store", store) == "up to date\n"


def test_users_who_are_forgotten_together_go_as_one_after_the_other(tmp_path):
    write_files(tmp_path / "files", 0)
    told, found = [], []
    for name, calls in (("together", [SENTINELS]), ("apart", [[one] for one in SENTINELS])):
        path = tmp_path / name / "log.duckdb"
        path.parent.mkdir()
        days = [tmp_path / "files" / f"day-{number}.csv" for number in (3, 4)]
        perennial("ingest", *days, "--store", path)
        with Store.open(path) as store:
            # Both were first seen in a period whose events are gone.
            drop_events(store, 1)
            told.append([one for users in calls for one in erase_users(store, users)])
        found.append(hash_file(path))
    assert told[0] == told[1]
    assert [one.user for one in told[0]] == list(SENTINELS)
    assert found[0] == found[1]
