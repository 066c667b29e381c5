"""The pictures hold the right numbers, and are files that others can open."""

import struct
import xml.etree.ElementTree as ElementTree

import pytest
from made_runs import HR, make_run

from perennial.replay.analysis.summary import summarise
from perennial.replay.report.lines import (
    COLOURS,
    inline_svg,
    make_panels,
    save_plots,
    style_order,
    value_range,
)


@pytest.fixture(scope="module")
def summary():
    return summarise(
        make_run(
            {
                (strategy, model, seed, period): {HR: [base + period + seed, 10.0]}
                for strategy, base in (("individual", 10), ("joint", 20))
                for model in ("infinite-ae", "mvae")
                for seed in (0, 2)
                for period in (2, 3, 4)
                if (strategy, model) != ("individual", "mvae")
            }
        ),
        num_resamples=10,
    )


def test_lines_are_means_of_seeds_within_their_range(summary):
    first, second = make_panels(summary, *HR)
    assert (first.model, second.model) == ("infinite-ae", "mvae")
    individual, joint = first.lines
    assert (individual.periods, individual.mean) == ([2, 3, 4], [11.5, 12.0, 12.5])
    assert (individual.low, individual.high) == ([11.0, 11.5, 12.0], [12.0, 12.5, 13.0])
    assert joint.has_band
    assert first.y_label == "HR@10 (%)"
    # A strategy looks the same in every panel.
    assert {line.label: line.style for line in first.lines} == {"individual": 0, "joint": 1}
    assert {line.label: line.style for line in second.lines} == {"joint": 1}
    assert style_order(summary) == ("individual", "joint")


def test_one_seed_has_no_band():
    one = summarise(make_run({("joint", "mvae", 0, 2): {HR: [1.0]}}), num_resamples=2)
    ((line,),) = [panel.lines for panel in make_panels(one, *HR)]
    assert not line.has_band


def test_the_range_holds_everything(summary):
    low, high = value_range(make_panels(summary, *HR))
    assert low < 11.0
    assert high > 18.0
    flat = summarise(make_run({("joint", "mvae", 0, 2): {HR: [0.0]}}), num_resamples=2)
    low, high = value_range(make_panels(flat, *HR))
    assert low < 0 < high


def test_files_are_pictures(summary, tmp_path):
    written = save_plots(summary, tmp_path)
    assert [path.name for path in written] == ["hr-at-10.png", "hr-at-10.svg"]
    png = written[0].read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert width > height > 300
    assert ElementTree.fromstring(written[1].read_text()).tag.endswith("svg")  # noqa: S314


def test_the_same_run_gives_the_same_svg(summary, tmp_path):
    first = save_plots(summary, tmp_path)[1].read_bytes()
    assert save_plots(summary, tmp_path)[1].read_bytes() == first


def test_a_run_without_figures_has_no_pictures(tmp_path):
    assert save_plots(summarise(make_run({})), tmp_path) == ()


def test_inline_pictures_follow_the_page_and_their_references_hold(summary):
    panels = make_panels(summary, *HR)
    text = inline_svg(panels[0], "plot7", value_range(panels))
    root = ElementTree.fromstring(text)  # noqa: S314
    assert root.get("width") is root.get("height") is None
    assert root.get("viewBox")
    assert root.get("role") == "img"
    assert "HR@10" in root.get("aria-label")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids
    assert all(name.startswith("plot7-") for name in ids)
    assert len(set(ids)) == len(ids)
    for light, _ in COLOURS:
        assert light not in text
    assert "var(--series-0)" in text
    assert "var(--ink)" in text
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "evaluated period" in words
    assert "DejaVu" not in text
    assert "<metadata" not in text
    root = ElementTree.fromstring(inline_svg(panels[0], "p", value_range(panels)))  # noqa: S314
    ids = {element.get("id") for element in root.iter()}
    links = [
        value
        for element in root.iter()
        for name, value in element.attrib.items()
        if name.endswith("href")
    ]
    clips = [e.get("clip-path") for e in root.iter() if e.get("clip-path")]
    assert links
    assert clips
    assert all(link[1:] in ids for link in links)
    assert all(clip.removeprefix("url(#").removesuffix(")") in ids for clip in clips)
