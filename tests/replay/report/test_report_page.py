"""The page is self-contained and well formed, and escapes every name."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from made_runs import HR, RUN, make_run

from perennial.replay.analysis.summary import summarise
from perennial.replay.report.page import render_page
from perennial.replay.report.run import write_report
from perennial.storage.errors import UserError
from perennial.storage.log.periods import PeriodSummary

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "path", "use", "rect", "br", "link", "img", "input"}


class Reader(HTMLParser):
    """HTML parser that checks closing tags and collects what a browser would load or run."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.words, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        if tag in {"script", "iframe", "object", "embed", "link", "img"}:
            self.loads.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (name in {"src", "href", "xlink:href"} and value[0] != "#"):
                self.loads.append((tag, name, value))
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def check_self_contained(page):
    """Check that a page loads nothing but pictures inside it; return its number of drawings."""
    reader = read(page)
    assert all(one[2].startswith("data:image/png;base64,") for one in reader.loads)
    assert len(set(reader.ids)) == len(reader.ids)
    without_names = re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert not re.search(r"https?:|@import|url\((?!#)|src=", without_names)
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for svg in svgs:
        ElementTree.fromstring(svg)  # noqa: S314  # our own
    return len(svgs)


@pytest.fixture
def data():
    values = {
        (strategy, model, seed, period): {
            HR: [10.0 * seed + period, 30.0],
            ("AUC", None): [0.5, 0.6],
        }
        for strategy in ("individual", "joint")
        for model in ("infinite-ae", "mvae")
        for seed in (0, 1)
        for period in (2, 3)
    }
    config = {"source": "ml.parquet", "seeds": [0, 1], "periods": 3, "models": []}
    period = PeriodSummary(1, "ml.parquet", 0, 10**6, True, 1234, 5, 6, 7, 8, "", 1234)
    run = make_run(values, dataclasses.replace(RUN, config=config))
    return dataclasses.replace(run, periods=(period,))


def test_the_page_is_self_contained_and_has_all_sections(data):
    page = render_page(data, summarise(data, num_resamples=50))
    assert check_self_contained(page) == 4
    text = " ".join(read(page).words)
    assert read(page).loads == []
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    for words in (
        "Replay of ml.parquet",
        "Mean over the evaluated periods",
        "Difference from individual",
        "Refits",
        "Evaluated users",
        "Log",
        "Time and memory",
        "What the metrics mean",
        "bands reach from the lowest seed",
        "1,234 interactions in 1 periods; 16 refits with 2 seeds",
        "version of jax",
    ):
        assert words in text
    assert "not finished" not in text


def test_names_are_escaped(data):
    cells = tuple(
        dataclasses.replace(cell, strategy=cell.strategy + EVIL, model=cell.model + EVIL)
        for cell in data.cells
    )
    config = {**data.run.config, "source": EVIL, "cut": EVIL}
    run = dataclasses.replace(data.run, config=config, versions={"perennial": EVIL})
    evil = dataclasses.replace(data, run=run, cells=cells)
    page = render_page(evil, summarise(evil, num_resamples=5))
    reader = read(page)
    assert reader.loads == []
    assert "<script" not in page
    assert EVIL in "".join(reader.words)


def test_an_unfinished_run_says_so(data):
    run = dataclasses.replace(data.run, status="interrupted", num_cells=99)
    unfinished = dataclasses.replace(data, run=run)
    text = " ".join(read(render_page(unfinished, summarise(unfinished, num_resamples=5))).words)
    assert "This run is not finished: 16 of 99 refits are done." in text


def test_a_run_without_evaluated_users(data):
    empty = make_run({("joint", "mvae", 0, 2): {HR: []}}, data.run)
    page = render_page(empty, summarise(empty))
    assert "Nothing could be evaluated" in page
    assert "<svg" not in page
    read(page)


def test_a_report_is_a_folder_of_files(data, tmp_path):
    summary = summarise(data, num_resamples=5)
    folder = tmp_path / "deep" / "report"
    written = write_report(data, summary, folder)
    plots = [f"plots/{name}.{kind}" for name in ("hr-at-10", "auc") for kind in ("png", "svg")]
    assert written == tuple(folder / name for name in ("report.html", "report.json", *plots))
    assert json.loads(written[1].read_text()) == json.loads(json.dumps(summary.to_json()))
    assert write_report(data, summary, folder) == written


def test_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written.*another folder"):
        write_report(data, summarise(data, num_resamples=5), tmp_path / "file")
