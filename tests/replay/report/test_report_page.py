"""The page is self-contained and well formed, and escapes every name."""

import dataclasses
import json
import re
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


def test_the_page_is_self_contained(data):
    page = render_page(data, summarise(data, num_resamples=50))
    reader = read(page)
    assert reader.loads == []
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(set(reader.ids)) == len(reader.ids)
    assert page.count("<svg") == 4
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_the_page_has_all_sections(data):
    text = " ".join(read(render_page(data, summarise(data, num_resamples=50))).words)
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
    names = [path.relative_to(folder).as_posix() for path in written]
    assert names == [
        "report.html",
        "report.json",
        "plots/hr-at-10.png",
        "plots/hr-at-10.svg",
        "plots/auc.png",
        "plots/auc.svg",
    ]
    assert json.loads(written[1].read_text()) == json.loads(json.dumps(summary.to_json()))
    assert write_report(data, summary, folder) == written


def test_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written.*another folder"):
        write_report(data, summarise(data, num_resamples=5), tmp_path / "file")
