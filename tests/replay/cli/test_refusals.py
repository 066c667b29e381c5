"""Options that would be ignored, and pairs that cannot be fitted, are refused before any work."""

import pytest
from command_line import call, call_well, write_log

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.ingest import LiveRequest, take_files
from perennial.replay.live.setup import configure_live
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.store import Store


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with a log, a folder of period files and a split."""
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.csv", num_lines=60)
    (tmp_path / "files").mkdir()
    for number in (1, 2):
        write_log(tmp_path / "files" / f"{number}.csv", num_lines=20, begin=100 * number)
    return tmp_path


def assert_refused(here, arguments, *words):
    """Assert that a command ends with one line with these words, and writes nothing."""
    before = sorted(here.rglob("*"))
    result = call(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert not result.stdout
    last = result.stderr.strip().splitlines()[-1]
    assert all(word in last for word in words), result.stderr
    assert sorted(here.rglob("*")) == before


ONCE = ("watch", "files", "--store", "s.duckdb", "--once")
MANY = ("recommend", "--store", "log.csv", "--users-file", "log.csv")
UNUSED = ("--set", "distill-cf.max_items=5")
AUDIT = ("memory", "audit", "--store", "log.csv")
TRANSFER = ("study", "transfer", "log.csv")
SPLIT = ("study", "table1", "--split", "log.csv")
TABLE1 = ("study", "table1", "log.csv", "--model", "pop")
EXPORT = ("periods", "export", "log.csv", "-o", "out")
NOISE = ("study", "noise", "log.csv", "--noise", "0")
TO_FILES = (
    *(("sample", "log.csv", "-o"), ("distill", "log.csv", "-o")),
    *(("memory", "export", "--store", "log.csv", "-o"), (*MANY, "-o")),
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *(
            ((*command, "--periods", 3, "--cut", cut), ("--periods", "equal-count", cut))
            for cut in ("day", "week", "month", "files")
            for command in (("replay", "log.csv"), ("study", "continual", "log.csv"))
        ),
        *(
            ((*command, name), (name, "suffix", ".parquet, .csv, .tsv, .jsonl"))
            for name in ("x.xlsx", "x", "x.json")
            for command in TO_FILES
        ),
        ((*AUDIT, "--plot", "x.gif"), ("x.gif", "suffix", ".png, .svg, .pdf")),
        (("replay", "files", "--periods", 3), ("--periods", "'files'", "--cut")),
        ((*EXPORT, "--periods", 3, "--cut", "month"), ("--periods", "month")),
        *(
            ((*command, "--mirror", "http://localhost"), ("--mirror", "log.csv"))
            for command in (("replay", "log.csv"), *((*one, "s.parquet") for one in TO_FILES[:2]))
        ),
        ((*SPLIT, "--split-seed", 0), ("log.csv", "split already", "--split-seed")),
        ((*SPLIT, "--user-column", "user_id"), ("log.csv", "split already")),
        ((*TABLE1, "--sampler", "user-rns"), ("--sampler", "infinite-ae")),
        ((*TABLE1, "--users", "5"), ("--users", "infinite-ae")),
        ((*NOISE, "--noise-kind", "flip"), ("--noise-kind", "--noise")),
        ((*TRANSFER, "--sampler", "user-rns", *UNUSED), ("distill-cf", "--sampler")),
        ((*ONCE, "--settle", 1), ("--once", "--settle")),
        ((*ONCE, "--every", 1), ("--once", "--every")),
    ],
)
def test_an_option_without_effect_is_refused(here, arguments, words):
    assert_refused(here, arguments, *words)


@pytest.mark.parametrize("command", ["replay", "study", "init"])
@pytest.mark.parametrize(
    ("strategy", "model", "more"),
    [
        *(
            (strategy, model, ())
            for strategy in ("ader", "distill-ader")
            for model in ("pop", "bias", "ease", "mf", "neumf", "lightgcn")
        ),
        ("ader", "infinite-ae", ("--set", "infinite-ae.centres=5")),
        ("distill-ader", "infinite-ae", ("--set", "infinite-ae.centres=5")),
        ("finetune", "infinite-ae", ()),
        ("finetune", "pop", ()),
    ],
)
def test_a_model_that_lacks_what_the_memory_needs_is_refused(here, command, strategy, model, more):
    given = {
        "replay": ("replay", "log.csv"),
        "study": ("study", "continual", "log.csv"),
        "init": ("init", "--store", "s.duckdb"),
    }
    chain = ("--strategy", strategy, "--model", model, *more)
    assert_refused(here, (*given[command], *chain), f"'{strategy}'", model, "choose")


def test_pairs_that_can_be_fitted_are_not_refused(here):
    for strategy, model in (("ader", "mvae"), ("distill-ader", "infinite-ae"), ("joint", "pop")):
        store = f"{strategy}.duckdb"
        call_well("init", "--store", store, "--strategy", strategy, "--model", model)


def test_a_live_pair_of_an_earlier_version_is_refused_before_its_file_is_ingested(
    here, monkeypatch
):
    config = ReplayConfig(strategies=("ader",), models=(ModelChoice("pop"),))
    with Store.open(here / "s.duckdb") as store:
        with monkeypatch.context() as patched:
            patched.setattr("perennial.models.pop.Pop.can_teach", True)
            configure_live(store, config)
        with pytest.raises(UserError, match=r"'ader' .* pop"):
            list(take_files(store, [here / "log.csv"], LiveRequest()))
        assert not list_periods(store)
