"""The page in a real browser: live state, recommendations, and no request to another host."""

import io
import json
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from calls import STATUS, TOKEN, FixedStatus, make_app, make_service, serving
from matplotlib.image import imread

from perennial.replay.service.limits import Refusal
from perennial.replay.service.server import url_of

pytestmark = pytest.mark.campaign
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
    "periods": 0, "newest_period": None, "published_period": None, "published": None,
    "held_from": None, "metrics": [], "memory": [],
    "log": {"interactions": 0, "kept": 0, "users": 0, "items": 0}, "model_bytes": None,
}  # fmt: skip
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


READY = """new Promise((resolve) => {
  const check = () => (document.body.dataset.ready ? resolve() : setTimeout(check, 20));
  check();
})"""


def when_ready(browser, expressions, then):
    """Yield expressions to evaluate when the page is ready, and after `then` is dealt with."""
    yield READY
    for first in filter(None, ("1", then)):
        yield first
        quiet = 0
        # The page draws after an answer: it has that time while it evaluates.
        while quiet < 10:
            time.sleep(0.1)
            yield "1"
            quiet = 0 if browser.num_waiting else quiet + 1
    yield from expressions


def look(browser, app, expressions, *, page="", size=(390, 844), then="", **given):
    """Return all that a page did, and the values of expressions; no other host is contacted."""
    with serving(app) as bound:
        address = url_of(bound)
        ask = when_ready(browser, expressions, then)
        seen = browser.look(f"{address}{page}", *size, ask=ask, **given)
    own = urlsplit(address).netloc
    assert [one for one in seen.requests if urlsplit(one).netloc != own] == []
    return seen, seen.values[-len(expressions) :]


@pytest.fixture
def app(recommender):
    return make_app(service=make_service(recommender, status=FixedStatus(FULL)))


@pytest.mark.parametrize(
    ("width", "height", "scale", "dark"),
    [(1280, 900, 1, False), (390, 844, 3, False), (390, 844, 3, True)],
    ids=["desktop", "phone", "phone in the dark"],
)
def test_the_live_state(app, browser, width, height, scale, dark):
    seen, values = look(browser, app, LAYOUT, size=(width, height), scale=scale, dark=dark)
    assert seen.errors == []
    inner, scroll, unnamed, silent, marks, paper = values
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
def test_the_query_form(app, browser, kind, text):
    then = SUBMIT.replace("KIND", kind).replace("WHAT", text)
    seen, (found, shown, reasons, disabled) = look(browser, app, RESULTS, then=then)
    assert seen.errors == []
    assert (found, disabled) == (4, False)
    assert "Item number" in shown
    assert reasons >= 4


def test_a_mistake_is_shown(app, browser):
    then = SUBMIT.replace("KIND", "items").replace("WHAT", "<b>nothing</b>")
    _, (found, text, *_) = look(browser, app, RESULTS, then=then)
    assert found == 0
    assert "unknown item <b>nothing</b>" in text


CHOOSE = """(() => {
  for (const [id, value] of [["metric", "2"], ["memory-quantity", "bytes"]]) {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("change"));
  }
})()"""


def test_the_choosers(app, browser):
    shown = (
        "document.querySelector('#metric-chart svg').getAttribute('aria-label')",
        "document.querySelector('#memory-chart svg').getAttribute('aria-label')",
        "document.querySelectorAll('#metric-table tbody tr').length",
    )
    seen, (metric, memory, rows) = look(browser, app, shown, size=(1280, 900), then=CHOOSE)
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
    seen, (headline, text) = look(browser, app, HEADLINE)
    assert seen.errors == []
    assert headline.startswith("Nothing is published yet")
    for words in ("none yet", "Nothing is evaluated yet", "There is no memory"):
        assert words in text
    for words in ("undefined", "null", "NaN"):
        assert words not in text


def test_a_store_that_cannot_be_read(browser):
    status = FixedStatus(Refusal(503, "live.duckdb has no live model"))
    _, (headline, _) = look(browser, make_app(service=make_service(status=status)), HEADLINE)
    assert headline == "No state to show: live.duckdb has no live model"


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
    seen, values = look(browser, app, LOCKED, then=ENTER.replace("TOKEN", json.dumps(token)))
    assert values == [not locked, locked, said, 0]
    assert all("401" in one for one in seen.errors)


ROUTES = (
    "document.querySelectorAll('.opblock').length",
    "document.querySelectorAll('.opblock-summary-path').length",
    "document.getElementById('problem').hidden",
)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "with a token"])
def test_the_page_of_the_routes(recommender, browser, token):
    then = "" if token is None else ENTER.replace("TOKEN", json.dumps(token))
    app = make_app(recommender, token=token)
    seen, values = look(browser, app, ROUTES, page="docs", size=(1280, 900), then=then)
    assert values == [5, 5, True]
    assert [one for one in seen.errors if "401" not in one] == []
