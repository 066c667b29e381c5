"""The page in a real browser: live state, recommendations, and no request to another host."""

import contextlib
import io
import json
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
import uvicorn
from browser import Browser, find_browser
from calls import STATUS, TOKEN, FixedStatus, make_app, make_service
from matplotlib.image import imread

from perennial.replay.service.limits import Refusal
from perennial.replay.service.server import bind, url_of

PROGRAM = find_browser()
pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(
        PROGRAM is None, reason="no chromium, chromium-browser or google-chrome on the path"
    ),
]
PERIODS = range(2, 18)
FULL = STATUS | {
    "strategy": "distill-cf",
    "periods": 17,
    "newest_period": 17,
    "published_period": 17,
    "metrics": [
        {
            "metric": name,
            "k": k,
            "label": name if k is None else f"{name}@{k}",
            "values": [
                {"period": p, "value": None if p == 5 else top * (1 + 0.2 * np.sin(p))}
                for p in PERIODS
            ],
            "mean": top,
        }
        for name, k, top in (("HR", 10, 30.0), ("nDCG", 10, 21.0), ("AUC", None, 0.87))
    ],
    "memory": [
        {"period": p, "rows": min(500, 60 * p), "entries": 12_000 * p, "bytes": 98_304 * p}
        for p in range(1, 18)
    ],
}
EMPTY = STATUS | {
    "periods": 0,
    "newest_period": None,
    "published_period": None,
    "published": None,
    "held_from": None,
    "metrics": [],
    "memory": [],
    "log": {"interactions": 0, "kept": 0, "users": 0, "items": 0},
    "model_bytes": None,
}
LAYOUT = (
    "window.innerWidth",
    "document.documentElement.scrollWidth",
    "[...document.querySelectorAll('input, select, button')]"
    ".filter(one => one.offsetParent && !one.closest('label') && !one.textContent).length",
    "[...document.querySelectorAll('svg')].filter(one => !one.getAttribute('aria-label')).length",
    "[...document.querySelectorAll('.chart svg')]"
    ".map(one => one.querySelectorAll('.dot, .bar').length)",
    "getComputedStyle(document.body).backgroundColor",
)


@pytest.fixture(scope="module")
def browser():
    with Browser(PROGRAM) as opened:
        yield opened


@contextlib.contextmanager
def serving(app):
    """The application on a port of this machine."""
    with bind("127.0.0.1", 0) as bound:
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield url_of(bound)
        finally:
            server.should_exit = True
            thread.join(30)


def when_ready(*expressions, then="", patience=4.0):
    """Yield expressions to evaluate, with time in between for the page, and for `then`."""
    yield from _pauses("document.body.dataset.ready", patience / 2)
    if then:
        yield then
        yield from _pauses("1", patience / 2)
    yield from expressions


def _pauses(expression, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        yield expression


def last(seen, number):
    return seen.values[-number:]


def foreign_requests(seen, address):
    own = urlsplit(address).netloc
    return [one for one in seen.requests if urlsplit(one).netloc != own]


@pytest.mark.parametrize(
    ("width", "height", "scale", "dark"),
    [(1280, 900, 1, False), (390, 844, 3, False), (390, 844, 3, True)],
    ids=["desktop", "phone", "phone in the dark"],
)
def test_the_live_state(recommender, browser, width, height, scale, dark):
    app = make_app(service=make_service(recommender, status=FixedStatus(FULL)))
    with serving(app) as address:
        seen = browser.look(address, width, height, scale=scale, dark=dark, ask=when_ready(*LAYOUT))
    assert seen.errors == []
    assert foreign_requests(seen, address) == []
    inner, scroll, unnamed, silent, marks, paper = last(seen, len(LAYOUT))
    assert inner == width
    assert scroll <= inner, "the page is wider than the window"
    assert (unnamed, silent) == (0, 0), "a screen reader has a name for each"
    assert marks == [len(PERIODS) - 1, 17]
    assert (paper == "rgb(255, 255, 255)") is not dark
    picture = imread(io.BytesIO(seen.picture))
    assert picture.shape[:2] == (height * scale, width * scale)
    colours = picture[::3, ::3].reshape(-1, picture.shape[2])
    assert len(np.unique(colours, axis=0)) > 20


SUBMIT = """(() => {
  document.querySelector("input[value=KIND]").click();
  document.getElementById("query-text").value = "WHAT";
  document.getElementById("k").value = "4";
  document.querySelector("#query-form button").click();
})()"""
RESULTS = (
    "document.querySelectorAll('#results > ol > li').length",
    "document.getElementById('results').textContent",
    "document.querySelectorAll('#results .why li').length",
    "document.querySelector('#query-form button').disabled",
)


@pytest.mark.parametrize(
    ("kind", "text"), [("items", "i4, i6 ,"), ("user", " u3 ")], ids=["a basket", "a user"]
)
def test_the_query_form(recommender, browser, kind, text):
    app = make_app(service=make_service(recommender, status=FixedStatus(FULL)))
    then = SUBMIT.replace("KIND", kind).replace("WHAT", text)
    with serving(app) as address:
        seen = browser.look(address, 390, 844, ask=when_ready(*RESULTS, then=then))
    assert seen.errors == []
    assert foreign_requests(seen, address) == []
    found, shown, reasons, disabled = last(seen, len(RESULTS))
    assert found == 4
    assert "Item number" in shown
    assert reasons >= 4
    assert disabled is False


def test_a_mistake_is_shown(recommender, browser):
    app = make_app(service=make_service(recommender))
    then = SUBMIT.replace("KIND", "items").replace("WHAT", "<b>nothing</b>")
    with serving(app) as address:
        seen = browser.look(address, 390, 844, ask=when_ready(*RESULTS, then=then))
    found, text, *_ = last(seen, len(RESULTS))
    assert found == 0
    assert "unknown item <b>nothing</b>" in text


CHOOSE = """(() => {
  for (const [id, value] of [["metric", "2"], ["memory-quantity", "bytes"]]) {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("change"));
  }
})()"""


def test_the_choosers(recommender, browser):
    app = make_app(service=make_service(recommender, status=FixedStatus(FULL)))
    shown = (
        "document.querySelector('#metric-chart svg').getAttribute('aria-label')",
        "document.querySelector('#memory-chart svg').getAttribute('aria-label')",
        "document.querySelectorAll('#metric-table tbody tr').length",
    )
    with serving(app) as address:
        seen = browser.look(address, 1280, 900, ask=when_ready(*shown, then=CHOOSE))
    metric, memory, rows = last(seen, len(shown))
    assert metric.startswith("AUC, periods 2 to 17: from 1.03 to ")
    assert memory == "bytes, periods 1 to 17: from 96 KiB to 1.6 MiB."
    assert rows == len(PERIODS)
    assert seen.errors == []


HEADLINE = (
    "document.getElementById('headline').textContent",
    "document.querySelector('main').innerText",
)


def test_before_anything_is_published(browser):
    app = make_app(service=make_service(status=FixedStatus(EMPTY)))
    with serving(app) as address:
        seen = browser.look(address, 390, 844, ask=when_ready(*HEADLINE))
    headline, text = last(seen, 2)
    assert seen.errors == []
    assert headline.startswith("Nothing is published yet")
    assert "none yet" in text
    assert "Nothing is evaluated yet" in text
    assert "There is no memory" in text
    assert "undefined" not in text
    assert "null" not in text
    assert "NaN" not in text


def test_a_store_that_cannot_be_read(browser):
    class Broken:
        def read(self):
            raise Refusal(503, "live.duckdb has no live model")

    with serving(make_app(service=make_service(status=Broken()))) as address:
        seen = browser.look(address, 390, 844, ask=when_ready(*HEADLINE))
    assert last(seen, 2)[0] == "No state to show: live.duckdb has no live model"


ENTER = """(() => {
  document.getElementById("token").value = TOKEN;
  document.querySelector("#token-form button").click();
})()"""
LOCKED = (
    "document.getElementById('locked').hidden",
    "document.getElementById('state').hidden",
    "document.getElementById('token-error').textContent",
    "localStorage.length + sessionStorage.length + document.cookie.length",
)


@pytest.mark.parametrize(
    ("token", "locked", "said"),
    [(TOKEN, False, ""), ("another one", True, "That is not the token.")],
    ids=["right", "wrong"],
)
def test_the_token(recommender, browser, token, locked, said):
    app = make_app(service=make_service(recommender, status=FixedStatus(FULL)), token=TOKEN)
    then = ENTER.replace("TOKEN", json.dumps(token))
    with serving(app) as address:
        seen = browser.look(address, 390, 844, ask=when_ready(*LOCKED, then=then))
    assert last(seen, 4) == [not locked, locked, said, 0]
    assert all("401" in one for one in seen.errors)


ROUTES = (
    "document.querySelectorAll('.opblock').length",
    "document.querySelectorAll('.opblock-summary-path').length",
    "document.getElementById('problem').hidden",
)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "with a token"])
def test_the_page_of_the_routes(recommender, browser, token):
    then = "" if token is None else ENTER.replace("TOKEN", json.dumps(token))
    with serving(make_app(recommender, token=token)) as address:
        seen = browser.look(
            f"{address}docs", 1280, 900, ask=when_ready(*ROUTES, then=then, patience=6.0)
        )
    assert last(seen, 3) == [5, 5, True]
    assert [one for one in seen.errors if "401" not in one] == []
    assert foreign_requests(seen, address) == []
