"""Replays from Python: the figures of the command line, tables, pictures, pages."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from command_line import call_json

import perennial as pn
from perennial.replay.analysis.run import load_run
from perennial.storage.opening import open_for_reading

STRATEGIES = ["individual", "distill-cf"]
SETTINGS = {"distill-cf": {"budget": 10}}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("commanded") / "log.duckdb"


@pytest.fixture(scope="module")
def printed(csv, store) -> dict:
    """The output of `perennial replay` with the settings of `run`."""
    return call_json(
        *("replay", csv, "--store", store, "--periods", 4, "--model", "ease,infinite-ae"),
        *("--set", "infinite-ae.reg=5", "--strategy", ",".join(STRATEGIES), "--budget", 10),
        *("--seed", "0,1"),
    )


def replay(log, **settings):
    models = ["ease", pn.InfiniteAE(reg=5)]
    return pn.replay(log, periods=4, models=models, seeds=[0, 1], settings=SETTINGS, **settings)


@pytest.fixture(scope="module")
def run(csv):
    log = pn.open_log(pyarrow.csv.read_csv(csv))
    return replay(log, strategies=STRATEGIES)


class TestReplay:
    def test_figures_are_those_of_the_command_line(self, run, printed):
        assert run.figures.to_pylist() == printed["results"]
        assert run.means.arrow.to_pylist() == printed["means"]
        assert set(run.summary.config) == set(printed["config"])

    def test_a_command_and_a_call_share_their_cells(self, run, printed, store):
        with open_for_reading(store) as opened:
            cells = load_run(opened, printed["config"]["run"]).cells
        assert [cell.key for cell in run.data.cells] == [cell.key for cell in cells]

    def test_the_same_call_resumes_in_a_store(self, csv, tmp_path):
        log, done = pn.open_log(csv), []
        for strategies in (["individual"], ["individual", "joint"]):
            counts = []
            pn.replay(
                log,
                periods=3,
                models=["pop"],
                strategies=strategies,
                store=tmp_path / "log.duckdb",
                progress=lambda text, part, whole, counts=counts: counts.append((part, whole)),
            )
            done.append([one for one in counts if one[1] == 2 * len(strategies)])
        assert done == [[(1, 2), (2, 2)], [(1, 4), (2, 4), (3, 4), (4, 4)]]

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"models": ["ease", pn.estimator("ease", regs=[1])]}, "a model is given twice"),
            ({"models": ["eas"]}, "unknown model 'eas'"),
            ({"models": [pn.Ease]}, "is no model; give a name, or an estimator"),
            ({"settings": {"mvae": {"dim": 3}}}, "does not run"),
            ({"memory_limit": "lots"}, "'lots' is no size"),
            ({"max_rows": 0}, "max_rows is 0"),
            ({"periods": 1}, "1 period(s)"),
        ],
    )
    def test_mistakes_are_errors_of_the_user(self, csv, settings, words):
        with pytest.raises(pn.UserError) as error:
            pn.replay(pn.open_log(csv), **{"models": ["pop"], "periods": 3} | settings)
        assert words in str(error.value)


class TestResult:
    def test_tables_convert_and_print(self, run):
        means = run.means
        assert pa.table(means) == means.arrow
        assert len(means) == means.arrow.num_rows == len(means.to_pandas())
        assert "infinite-ae  distill-cf" in repr(run)
        assert "<td>infinite-ae</td><td>distill-cf</td>" in run._repr_html_()

    def test_differences_are_those_of_the_summary(self, run):
        rows = run.differences.arrow.to_pylist()
        assert {(one["strategy"], one["baseline"]) for one in rows} == {
            ("distill-cf", "individual")
        }
        assert all(one["eval_periods"] == [2, 3, 4] for one in rows)
        assert "Difference from individual" in repr(run.differences)

    def test_one_strategy_has_no_differences(self, csv):
        run = pn.replay(pn.open_log(csv), periods=3, models="pop", strategies="joint")
        assert len(run.differences) == 0
        assert run.differences.arrow.column_names[:3] == ["strategy", "baseline", "model"]
        assert "No strategies to compare" in repr(run.differences)

    def test_pictures_and_pages(self, run, tmp_path):
        assert [axes.get_title(loc="left") for axes in run.plot("HR@10").axes] == [
            "ease",
            "infinite-ae",
        ]
        page = run.report(tmp_path / "report")
        assert "distill-cf" in page.read_text()
        with pytest.raises(pn.UserError, match="no figures of 'HR@11'; it has HR@10"):
            run.plot("HR@11")
