"""The page of a study: its tables and maps, names escaped, on a desk and in a hand."""

import dataclasses
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from made_runs import texts
from matplotlib.image import imread
from rich.console import Console
from study_reports import make_report
from test_report_page import EVIL, check_self_contained, read

from perennial.replay.analysis.transfer import TransferMatrix
from perennial.replay.cli.tables import print_study
from perennial.replay.report.study import (
    colour_range,
    inline_heatmap,
    render_study,
    save_heatmaps,
    write_study,
)
from perennial.replay.report.study_tables import (
    costs_table,
    findings,
    lead_table,
    ranks_table,
    subject_of,
    transfer_table,
)


@pytest.fixture(scope="module")
def report():
    return make_report(confirm_from=3)


@pytest.fixture(scope="module")
def page(report):
    return render_study(report)


def matrix(values, **names):
    values = np.array(values, dtype=float)
    given = {"strategy": "joint", "model": "mvae", "metric": "HR", "k": 100} | names
    return TransferMatrix(**given, values=values, chance=np.full(values.shape[1], 1.0))


class TestPage:
    def test_it_has_all_sections(self, page):
        words = " ".join(read(page).words)
        for text in (
            "Strategies over the periods of ml",
            "Mean over the evaluated periods",
            "distill-cf minus each other strategy",
            "Periods from 3 on",
            "Rank",
            "Forgetting and transfer",
            "Backward transfer",
            "Cost",
            "Period by period",
            "What the metrics mean",
        ):
            assert text in words
        assert "not finished" not in words

    def test_every_map_is_there_with_ids_of_its_own(self, page):
        assert check_self_contained(page) == 10 + 10, "a map and a panel per metric and model"
        assert read(page).loads != [], "the colours of a map are a picture inside the page"
        svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
        maps = [svg for svg in svgs if "by fit and evaluated period" in svg]
        assert len({re.search(r'aria-label="([^"]*)"', svg)[1] for svg in maps}) == 10
        for svg in maps:
            ids = re.findall(r'\bid="([^"]*)"', svg)
            assert len({re.match(r"transfer-\d+-", one)[0] for one in ids}) == 1
            for used in re.findall(r'(?:url\(|href=")#([^")]*)', svg):
                assert used in ids

    def test_names_are_escaped(self):
        evil = make_report(
            strategies=("individual" + EVIL, EVIL), models=(EVIL,), source=EVIL, confirm_from=2
        )
        page = render_study(evil)
        reader = read(page)
        assert "<script" not in page
        assert all(one[2].startswith("data:image/png") for one in reader.loads)
        assert EVIL in "".join(reader.words)

    def test_no_transfer_no_maps_and_one_strategy_no_comparison(self):
        page = render_study(make_report(strategies=("joint",), models=("mvae",), transfer=False))
        for words in ("Forgetting and transfer", "data:image", "minus each other strategy"):
            assert words not in page
        read(page)

    def test_a_dash_for_no_evaluated_users(self, report):
        no_users = tuple(
            dataclasses.replace(one, values=np.full_like(one.values, np.nan))
            for one in report.transfer
        )
        empty = dataclasses.replace(report, transfer=no_users)
        read(render_study(empty))
        assert {text for row in texts(transfer_table(empty)) for text in row[2:]} == {"–"}


class TestTables:
    def test_the_subject_is_compared_with_each_other_strategy(self, report):
        table = lead_table(report.summary)
        assert sorted(row[:2] for row in texts(table)) == [
            [model, other]
            for model in ("infinite-ae", "mvae")
            for other in ("ader", "individual", "joint", "user-rns")
        ]
        assert all(entry.detail for row in table.rows for entry in row[2:])

    def test_a_study_without_the_subject_takes_its_last_strategy(self):
        assert subject_of(make_report(strategies=("joint", "ader")).summary) == "ader"

    def test_findings_are_about_the_confirmation_periods(self, report):
        where, *found, advice = findings(report)
        assert advice == " ".join(one.describe() for one in report.advice)
        assert [one.model for one in report.advice] == ["infinite-ae", "mvae"]
        assert where == "On the periods from 3 on:"
        assert len(found) == 8
        assert all(one.startswith("With ") for one in found)
        assert all("distill-cf" in one for one in found)
        everywhere = dataclasses.replace(report, confirmed=None, confirm_from=None)
        assert all(one.startswith("With ") for one in findings(everywhere))

    def test_ranks_and_costs_have_a_row_per_chain(self, report):
        ranks, costs = ranks_table(report), costs_table(report)
        assert [row[:2] for row in texts(ranks)] == [row[:2] for row in texts(costs)]
        assert len(ranks.rows) == 10
        assert sum(entry.best for row in ranks.rows for entry in row) >= 10
        assert all(len(row) == len(costs.columns) for row in costs.rows)
        assert texts(costs)[0][-3:] == ["500", "9,000", "72 KiB"]

    def test_a_metric_that_no_period_has_whole_gets_a_dash(self, report):
        ranks = tuple(one for one in report.ranks if (one.model, one.metric) != ("mvae", "AUC"))
        table = ranks_table(dataclasses.replace(report, ranks=ranks))
        assert {row[-1] for row in texts(table) if row[0] == "mvae"} == {"–"}

    def test_ranks_over_other_periods_are_told_apart(self, report):
        ranks = tuple(
            dataclasses.replace(one, eval_periods=(2, 3, 9)) if one.model == "mvae" else one
            for one in report.ranks
        )
        assert "Not comparable" not in ranks_table(report).note
        assert "mvae over 2, 3, 9" in ranks_table(dataclasses.replace(report, ranks=ranks)).note


class TestMaps:
    def test_one_scale_contains_all_known_values(self):
        one = matrix([[1.0, np.nan], [2.0, 3.0]])
        other = matrix([[np.nan, np.nan]])
        assert colour_range([one, other]) == (1.0, 3.0)
        assert colour_range([other]) == (-1.0, 1.0)
        assert colour_range([matrix([[4.0, 4.0]])]) == (3.0, 5.0)

    def test_a_map_has_a_label(self):
        svg = inline_heatmap(matrix([[1.0, np.nan, 2.0], [2.0, 3.0, 1.0]]), "m", (1.0, 3.0))
        assert svg.startswith("<svg")
        assert 'aria-label="HR@100 of mvae with joint, by fit and evaluated period"' in svg
        assert "evaluated period" in svg
        assert "data:image/png;base64," in svg

    def test_files_contain_all_maps_of_a_metric(self, tmp_path):
        matrices = [
            matrix([[1.0, 2.0]], strategy="joint", model="mvae"),
            matrix([[1.0, 2.0]], strategy="ader", model="mvae"),
            matrix([[1.0, np.nan]], strategy="joint", model="infinite-ae"),
        ]
        written = save_heatmaps(matrices, tmp_path)
        names = ("transfer-hr-at-100.png", "transfer-hr-at-100.svg")
        assert written == tuple(tmp_path / name for name in names)
        assert written[0].read_bytes().startswith(b"\x89PNG")
        ElementTree.parse(written[1])  # noqa: S314  # our own


class TestFiles:
    def test_a_study_is_a_folder_of_files(self, tmp_path):
        def refuse(name):
            raise AssertionError(name)

        report = make_report(("individual", "ader"), ("mvae",), confirm_from=3)
        folder = tmp_path / "deep" / "study"
        written = write_study(report, folder)
        names = [path.relative_to(folder).as_posix() for path in written]
        assert names[:2] == ["report.html", "report.json"]
        assert names[-2:] == ["plots/transfer-hr-at-100.png", "plots/transfer-hr-at-100.svg"]
        assert len(names) == 2 + 2 * 5 + 2
        assert all(path.stat().st_size > 0 for path in written)
        assert write_study(report, folder) == written
        read_back = json.loads(written[1].read_text(), parse_constant=refuse)
        assert list(read_back) == [
            *("config", "results", "means", "evaluations", "timings", "costs"),
            *("differences", "ranks", "confirmation", "transfer", "advice"),
        ]
        assert read_back["confirmation"]["from_period"] == 3
        assert len(read_back["transfer"]) == 1 * 2 * 4
        one = read_back["transfer"][0]
        assert [row[-1] for row in one["matrix"]] == [None] * 3
        assert one["chance"] == [None, 3.0, 3.0, 3.0]
        pairs = {(each["strategy"], each["baseline"]) for each in read_back["differences"]}
        assert len(pairs) == 2 * 1


def test_the_terminal_shows_the_same_tables(report, capsys):
    print_study(report, Console(width=200))
    shown = capsys.readouterr().out
    for title in ("minus each other", "from 3 on", "Rank", "Forgetting and transfer", "Cost"):
        assert title in shown
    print_study(make_report(strategies=("joint",), transfer=False), Console(width=80))
    shown = capsys.readouterr().out
    assert "minus each other" not in shown
    assert "Forgetting and transfer" not in shown


QUESTIONS = (
    "window.innerWidth",
    "document.documentElement.scrollWidth",
    "document.querySelectorAll('svg').length",
    "[...document.querySelectorAll('svg')].filter(one => one.getBoundingClientRect().height < 50"
    " || one.getBoundingClientRect().right > window.innerWidth).length",
    "[...document.querySelectorAll('svg image')].filter(one => one.getBBox().width < 5).length",
    "getComputedStyle(document.body).backgroundColor",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with five strategies, two models and seventeen periods."""
    report = make_report(num_periods=17, confirm_from=8)
    return write_study(report, tmp_path_factory.mktemp("study"))[0].as_uri()


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("width", "height", "scale", "dark"),
    [(1280, 800, 1, False), (390, 844, 3, False), (390, 844, 3, True)],
    ids=["desktop", "phone", "phone in the dark"],
)
def test_the_page_of_a_study(address, browser, width, height, scale, dark):
    seen = browser.look(address, width, height, scale=scale, dark=dark, ask=QUESTIONS)
    inner, scroll, svgs, misplaced, empty, paper = seen.values
    assert (seen.errors, seen.requests) == ([], [])
    assert inner == width
    assert scroll <= inner, "the page is wider than the window"
    assert svgs == 20
    assert misplaced == 0
    assert empty == 0
    assert (paper == "rgb(255, 255, 255)") is not dark
    picture = imread(io.BytesIO(seen.picture))
    assert picture.shape[:2] == (height * scale, width * scale)
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50
    # Words and lines all over it, not in a corner.
    for half in np.array_split(picture[..., 0], 2):
        assert half.std() > 0.02


@pytest.mark.campaign
def test_what_a_page_loads_or_says_would_be_seen(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<p style='width: 3000px'>wide</p><img src='http://127.0.0.1:9/x.png'>"
        "<script>console.error('oh'); no_such_name</script>"
    )
    seen = browser.look(page.as_uri(), 390, 844, ask=QUESTIONS[:2])
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
    assert len(seen.errors) >= 2
    assert seen.values[1] > seen.values[0]
