"""The pages of the paper's studies: complete, self-contained, every name escaped."""

import dataclasses
import io
import json

import pyarrow.parquet as pq
import pytest
from made_runs import texts
from paper_toys import make_record, make_results
from rich.console import Console
from test_report_page import EVIL, check_self_contained, read

from perennial.replay.report.drawing import render_table
from perennial.replay.report.paper import make_axis_panels, render_paper_study, write_paper_study
from perennial.replay.report.paper_tables import (
    choices_table,
    costs_table,
    figures_table,
    published_table,
    shares_table,
)
from perennial.replay.study.paper.registry import find_study
from perennial.storage.errors import UserError

MODELS = ("infinite-ae", "mvae", "ease")


def make_table1(**given):
    records = [make_record(model=model, seed=seed) for model in MODELS for seed in (0, 1)]
    records += [make_record("distill-cf", 500, "infinite-ae", seed=seed) for seed in (0, 1)]
    return make_results("table1", find_study("table1"), records, **given)


def make_few(name="sample-efficiency", models=("infinite-ae",)):
    """Rows of two samplers, the synthetic ones better the more they are."""
    records = [make_record(model=model, seed=seed) for model in models for seed in (0, 1)]
    records += [
        make_record(sampler, users, model, seed, HR=HR)
        for model in models
        for sampler, figures in (("distill-cf", (8.0, 9.8)), ("user-rns", (5.0, 8.0)))
        for users, HR in zip((25, 500), figures, strict=True)
        for seed in (0, 1)
    ]
    return make_results(name, find_study(name), records)


def make_noise():
    """All users and synthetic ones at two noises."""
    records = [
        make_record(sampler, users, model, seed, HR=HR, noise=noise)
        for model in ("ease", "infinite-ae")
        for sampler, users, figures in (
            ("all-users", None, (10.0, 6.0)),
            ("distill-cf", 500, (9.0, 8.0)),
        )
        for noise, HR in zip((0.0, 50.0), figures, strict=True)
        for seed in (0, 1)
    ]
    return make_results("noise", find_study("noise"), records)


STUDIES = {
    "noise": make_noise,
    "table1": make_table1,
    "sample-efficiency": make_few,
    "transfer": lambda: make_few("transfer", ("ease", "mvae")),
}


@pytest.fixture(params=STUDIES)
def found(request):
    return STUDIES[request.param]()


class TestPage:
    def test_it_is_self_contained_and_has_all_sections(self, found):
        page = render_paper_study(found)
        assert check_self_contained(page) >= 6
        assert read(page).loads == []
        words = " ".join(read(page).words)
        for text in (
            f"{found.study.title} on ml-1m",
            "Question",
            "Figures",
            "Pictures",
            "Chosen settings",
            "Time and memory",
            "Settings",
            *found.study.describe(found.groups),
        ):
            assert text in words

    def test_names_are_escaped(self):
        found = make_table1()
        records = [
            dataclasses.replace(one, model=dataclasses.replace(one.model, name="<b>&"))
            for one in found.records
        ]
        evil = make_results(found.name, found.study, records, paper=None, source=EVIL)
        page = render_paper_study(evil)
        assert "<script" not in page
        assert "<b>" not in page
        assert EVIL in "".join(read(page).words)

    @pytest.mark.parametrize("name", ["table1", "sample-efficiency"])
    def test_it_is_written_with_numbers_table_pictures_and_an_index(self, name, tmp_path):
        found = STUDIES[name]()
        written = write_paper_study(found, tmp_path)
        own = tmp_path / found.name
        assert written[0] == own / "report.html"
        assert all(path.is_file() for path in written)
        assert {path.suffix for path in (own / "plots").iterdir()} == {".png", ".svg"}
        assert json.loads((own / "report.json").read_text())["study"] == found.name
        assert pq.read_table(own / "table.parquet").to_pylist() == found.rows()
        index = (tmp_path / "index.html").read_text()
        assert read(index).loads == [("a", "href", f"{found.name}/report.html")]
        assert written[0].read_text() == render_paper_study(found), "the same bytes each time"

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot be written"):
            write_paper_study(make_table1(), tmp_path / "file")


class TestTable1:
    def test_a_row_per_group_best_in_bold(self):
        table = figures_table(make_table1())
        assert [row[:2] for row in texts(table)] == [
            ["all users", "infinite-ae"],
            ["all users", "mvae"],
            ["all users", "ease"],
            ["distill-cf 500", "infinite-ae"],
        ]
        assert texts(table)[0][2:] == ["10.50", "50.50", "9.50", "20.50", "2.50", "0.9000"]
        assert table.rows[0][2].detail == "± 0.50"
        assert table.rows[0][2].best

    def test_differences_from_the_paper(self):
        table = published_table(make_table1())
        assert table.columns[2:] == ("HR@10", "nDCG@10", "nDCG@100", "PSP@10")
        # 10.5 / 21.70 is 0.48387.
        assert (table.rows[1][2].text, table.rows[1][2].detail) == ("−51.6%", "of 21.70")
        assert published_table(make_table1(paper=None)) is None

    def test_chosen_settings_and_costs(self):
        found = make_table1()
        rows = texts(choices_table(found))
        assert (len(rows), rows[0][2:]) == (4, ["50.00", "λ 5"])
        reports = ({"reg": 1.0, "validation_HR@100": 41.0}, {"reg": 5.0, "validation_HR@100": 40.5})
        records = [make_record(seed=seed, fit_report=reports[seed]) for seed in (0, 1)]
        (row,) = texts(choices_table(make_results("table1", found.study, records)))
        assert row[2:] == ["40.50 to 41.00", "λ 1 | λ 5"]
        costs = texts(costs_table(found))
        assert costs[0][2:] == ["1,000", "5,000", "–", "2.5 s", "1.0 s", "1.0 GiB"]
        assert costs[3][2:] == ["500", "5,000", "1 min 00 s", "2.5 s", "1.0 s", "2.0 GiB"]


class TestFewRows:
    def test_shares_are_of_all_users(self):
        table = shares_table(make_few())
        assert table.columns == ("model", "trained on", "25", "500")
        # (8.0 + 9.0) / 2 of (10.0 + 11.0) / 2 is 80.952%.
        assert texts(table) == [
            ["infinite-ae", "distill-cf", "81.0%", "98.1%"],
            ["infinite-ae", "user-rns", "52.4%", "81.0%"],
        ]
        assert shares_table(make_table1()) is None
        assert find_study("sample-efficiency").describe(make_few().groups) == [
            "infinite-ae has 95% of its HR@10 on all users with 500 of distill-cf, not with 500 of"
            " user-rns (81.0%)."
        ]

    def test_a_panel_per_model_and_a_line_per_sampler(self):
        found = make_few("transfer", ("ease", "mvae"))
        panels = make_axis_panels(found.groups, found.study.axis, ("HR", 10))
        assert [panel.model for panel in panels] == ["ease", "mvae"]
        assert panels[0].log
        assert panels[0].ticks == (25, 500)
        whole, distilled, sampled = panels[1].lines
        assert (whole.label, whole.periods, whole.mean) == ("all users", [], [10.5])
        assert (distilled.label, distilled.periods) == ("distill-cf", [25, 500])
        assert distilled.mean == pytest.approx([8.5, 10.3])
        assert (sampled.low, sampled.high) == ([5.0, 8.0], [6.0, 9.0])
        assert len({line.style for line in panels[0].lines}) == 3


class TestNoise:
    def test_shares_and_sentences_are_of_all_users_without_noise(self):
        found = make_noise()
        table = shares_table(found)
        assert table.columns == ("model", "trained on", "0%", "50%")
        # 9.5, 6.5 and 8.5 of 10.5.
        assert texts(table)[:2] == [
            ["ease", "all users", "100.0%", "61.9%"],
            ["ease", "distill-cf 500", "90.5%", "81.0%"],
        ]
        first, second = found.study.describe(found.groups)
        # 6.5 / 10.5 and 8.5 / 9.5.
        assert first == (
            "50% noise changes the HR@10 of ease by −38.1% on all users, −10.5% on distill-cf 500."
        )
        assert "infinite-ae" in second
        names = [row[1].text for row in figures_table(found).rows]
        assert names[:2] == ["all users", "all users, 50% noise"]

    def test_all_users_are_a_line_over_the_noise(self):
        found = make_noise()
        panel, _ = make_axis_panels(found.groups, found.study.axis, ("HR", 10))
        assert [line.periods for line in panel.lines] == [[0.0, 50.0], [0.0, 50.0]]
        assert not panel.log

    def test_no_figure_is_cut_short_on_a_narrow_terminal(self):
        drawn = io.StringIO()
        console = Console(file=drawn, width=80)
        for make in (figures_table, costs_table):
            console.print(render_table(make(make_noise()), 80))
        assert "…" not in drawn.getvalue()
        assert "distill-cf" in drawn.getvalue()


@pytest.mark.campaign
def test_the_pages_in_a_browser(browser, tmp_path):
    pages = [write_paper_study(make(), tmp_path)[0] for make in STUDIES.values()]
    ask = (
        "window.innerWidth - document.documentElement.scrollWidth",
        "[...document.querySelectorAll('svg')].filter(one => one.getBoundingClientRect().height"
        " < 50 || one.getBoundingClientRect().right > window.innerWidth).length",
    )
    for page in (*pages, tmp_path / "index.html"):
        for width, scale, dark in ((1280, 1, False), (390, 3, True)):
            seen = browser.look(page.as_uri(), width, 844, scale=scale, dark=dark, ask=ask)
            assert (seen.errors, seen.requests) == ([], [])
            assert seen.values[0] >= 0, "the page is wider than the window"
            assert seen.values[1] == 0
