"""The page of a study in a real browser, as on a desk and in a hand."""

import io

import numpy as np
import pytest
from browser import Browser, find_browser
from matplotlib.image import imread
from study_reports import make_report

from perennial.replay.report.study import write_study

PROGRAM = find_browser()
pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(
        PROGRAM is None, reason="no chromium, chromium-browser or google-chrome on the path"
    ),
]
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


@pytest.fixture(scope="module")
def browser():
    with Browser(PROGRAM) as opened:
        yield opened


@pytest.mark.parametrize(
    ("width", "height", "scale", "dark"),
    [(1280, 800, 1, False), (390, 844, 3, False), (390, 844, 3, True)],
    ids=["desktop", "phone", "phone in the dark"],
)
def test_the_page_of_a_study(address, browser, width, height, scale, dark):
    seen = browser.look(address, width, height, scale=scale, dark=dark, ask=QUESTIONS)
    inner, scroll, svgs, misplaced, empty, paper = seen.values
    assert seen.errors == []
    assert seen.requests == []
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
