"""The routes: what they answer, how they refuse, and what no answer and no log line tells."""

import logging

import pytest
from calls import STATUS, TOKEN, FakeRecommender, call, make_app, make_service
from prometheus_client.parser import text_string_to_metric_families

from perennial.replay.recommend.catalogue import UnknownName
from perennial.replay.recommend.recommender import RecommendationQuery, RecommendedItem
from perennial.replay.service.limits import Refusal
from perennial.replay.service.monitoring import SECURITY_HEADERS
from perennial.storage.errors import UserError

BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def asked():
    """The questions that came through."""
    return []


@pytest.fixture
def app(asked):
    def answer(question):
        asked.append(question)
        return (RecommendedItem("i1", 0.5, "One"), RecommendedItem(2, 0.25, None))

    return make_app(FakeRecommender(answer))


class TestRecommending:
    def test_the_answer_names_the_model(self, app):
        said = call(app, "POST", "/recommend", json={"user": "u1"}).json()
        assert said == {
            "period": 7,
            "published": "2026-01-02T03:04:05Z",
            "model": "infinite-ae",
            "strategy": "individual",
            "recommendations": [
                {"item": "i1", "score": 0.5, "title": "One"},
                {"item": 2, "score": 0.25},
            ],
        }

    def test_everything_asked_for_is_passed_on(self, app, asked):
        wishes = {"k": 3, "exclude": ["x", 5], "exclude_seen": False, "why": True}
        call(app, "POST", "/recommend", json={"items": ["a", 7], **wishes})
        query = "items=a,7&k=3&exclude=x,5&exclude_seen=false&why=true"
        call(app, "GET", f"/recommend?{query}")
        call(app, "POST", "/recommend", json={"user": 12})
        wanted = RecommendationQuery(None, ("a", "7"), 3, ("x", "5"), False, True)
        assert asked == [wanted, wanted, RecommendationQuery(user="12")]

    def test_the_real_model_answers_and_says_why(self, recommender):
        app = make_app(recommender)
        said = call(app, "POST", "/recommend", json={"items": ["i4"], "k": 2, "why": True}).json()
        assert len(said["recommendations"]) == 2
        first = said["recommendations"][0]["reasons"][0]
        assert first["shared"] == [{"item": "i4", "title": "Item number 4"}]
        by_address = call(app, "GET", "/recommend?items=i4&k=2&why=true")
        assert by_address.json() == said
        again = call(app, "POST", "/recommend", json={"user": "u3", "k": 1000}).json()
        assert "reasons" not in again["recommendations"][0]

    def test_identifiers_of_any_script_arrive(self, app, asked):
        call(app, "POST", "/recommend", json={"user": "Žofie 🌱, ½"})
        call(app, "GET", "/recommend", params={"user": "Žofie 🌱, ½"})
        assert [one.user for one in asked] == ["Žofie 🌱, ½"] * 2


INVALID = {
    "nothing": ({}, "either user or items"),
    "both": ({"user": "a", "items": ["b"]}, "either user or items"),
    "no object": ([1], "either user or items"),
    "null": ({"user": None}, "user: give a text"),
    "empty": ({"user": ""}, "user: give a text"),
    "too long": ({"user": "x" * 1001}, "user: give a text"),
    "true": ({"user": True}, "user: give a text"),
    "fraction": ({"user": 1.5}, "user: give a text"),
    "huge": ({"user": 2**53}, "user: give a text"),
    "no items": ({"items": []}, "items: list should have at least 1"),
    "many items": ({"items": ["a"] * 1001}, "items: list should have at most 1000"),
    "a bad item": ({"items": ["a", {}]}, "items.1: give a text"),
    "many excluded": ({"user": "a", "exclude": ["a"] * 1001}, "exclude: list should have at most"),
    "k 0": ({"user": "a", "k": 0}, "k: input should be greater"),
    "k 1001": ({"user": "a", "k": 1001}, "k: input should be less"),
    "k text": ({"user": "a", "k": "3"}, "k: input should be a valid integer"),
    "k true": ({"user": "a", "k": True}, "k: input should be a valid integer"),
    "why text": ({"user": "a", "why": "yes"}, "why: input should be a valid boolean"),
    "unknown": ({"user": "a", "usre": 1}, "usre: extra inputs"),
}


class TestRefusing:
    @pytest.mark.parametrize(("body", "line"), INVALID.values(), ids=INVALID)
    def test_what_is_invalid(self, app, asked, body, line):
        answer = call(app, "POST", "/recommend", json=body)
        assert answer.status_code == 422
        assert set(answer.json()) == {"error"}
        assert line in answer.json()["error"]
        assert asked == []

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[" * 100_000, b'{"user": "\xff"}', b'{"user": "\\ud800"}', b"9" * 9999],
        ids=["empty", "cut", "deep", "no UTF-8", "half a character", "a long number"],
    )
    def test_what_is_no_json(self, app, asked, body):
        answer = call(app, "POST", "/recommend", content=body, headers=JSON)
        assert answer.status_code == 422
        assert "\n" not in answer.json()["error"]
        assert asked == []

    @pytest.mark.parametrize(
        "query", ["", "user=a&items=b", "items=a,,b", "user=a&k=0", "user=a&q=1", "user=a&why=1"]
    )
    def test_what_is_invalid_in_an_address(self, app, asked, query):
        assert call(app, "GET", f"/recommend?{query}").status_code == 422
        assert asked == []

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
    def test_what_is_not_said_to_be_json(self, app, kind):
        # A form on another page can send these without being asked for leave.
        headers = {} if kind is None else {"Content-Type": kind}
        answer = call(app, "POST", "/recommend", content=b'{"user": "a"}', headers=headers)
        assert answer.status_code == 415

    @pytest.mark.parametrize(
        ("error", "status"),
        [(UnknownName("user 'x' is\nnot there", ["x"]), 404), (UserError("makes no sense"), 422)],
    )
    def test_what_the_model_refuses(self, error, status):
        def answer(_question):
            raise error

        said = call(make_app(FakeRecommender(answer)), "POST", "/recommend", json={"user": "x"})
        assert said.status_code == status
        assert said.json() == {"error": " ".join(str(error).split())}

    def test_without_a_model(self):
        app = make_app(None)
        for method, path, given in (
            ("GET", "/health", {}),
            ("GET", "/recommend?user=a", {}),
            ("POST", "/recommend", {"json": {"user": "a"}}),
        ):
            answer = call(app, method, path, **given)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            assert "no model is published yet" in answer.json()["error"]

    def test_pages_that_are_not_there(self, app):
        for path in ("/nope", "/page/", "/page/../http.py", "/page/%2e%2e/http.py", "/docs/x.js"):
            answer = call(app, "GET", path)
            assert answer.status_code == 404
            assert set(answer.json()) == {"error"}
        answer = call(app, "PUT", "/recommend")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")

    def test_a_fault_of_the_program_is_one_line(self, caplog):
        def answer(_question):
            raise ZeroDivisionError("of u-secret")

        answer = call(make_app(FakeRecommender(answer)), "POST", "/recommend", json={"user": "a"})
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "ZeroDivisionError" in caplog.text


class TestState:
    def test_health(self, app):
        said = call(app, "GET", "/health").json()
        assert said.pop("uptime_seconds") >= 0
        assert said == {
            "period": 7,
            "published": "2026-01-02T03:04:05Z",
            "fit_key": "0123456789ab",
        }

    def test_status(self, app):
        assert call(app, "GET", "/status").json() == STATUS

    def test_a_status_that_cannot_be_read(self):
        class Broken:
            def read(self):
                raise Refusal(503, "the store is being written")

        answer = call(make_app(service=make_service(status=Broken())), "GET", "/status")
        assert (answer.status_code, answer.json()["error"]) == (503, "the store is being written")

    def test_metrics(self, app):
        call(app, "POST", "/recommend", json={"user": "a"})
        call(app, "GET", "/recommend")
        call(app, "GET", "/some/name/of/their/own")
        answer = call(app, "GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        assert found["perennial_requests_total", "/recommend", "200"] == 1
        assert found["perennial_requests_total", "/recommend", "422"] == 1
        assert found["perennial_requests_total", "other", "404"] == 1
        assert found["perennial_request_seconds_count", "/recommend", "200"] == 1
        assert found["perennial_requests_in_flight",] == 1, "this very one"


class TestGuards:
    def test_all_but_health_and_the_shells_need_the_token(self):
        app = make_app(FakeRecommender(), token=TOKEN)
        for path in ("/status", "/metrics", "/openapi.json", "/recommend?user=a", "/nope"):
            answer = call(app, "GET", path)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert call(app, "GET", path, headers=BEARER).status_code in (200, 404)
        for path in ("/health", "/", "/docs", "/page/app.js", "/docs/swagger-ui.css"):
            assert call(app, "GET", path).status_code == 200, path
        document = call(app, "GET", "/openapi.json", headers=BEARER).json()
        assert document["paths"]["/recommend"]["post"]["security"] == [{"HTTPBearer": []}]
        assert "security" not in document["paths"]["/health"]["get"]

    @pytest.mark.parametrize(
        "given", [f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer x", f"Bearer {TOKEN}x", "Bearer \xff"]
    )
    def test_other_tokens(self, given):
        app = make_app(FakeRecommender(), token=TOKEN)
        headers = {"Authorization": given.encode("latin-1")}
        assert call(app, "GET", "/status", headers=headers).status_code == 401

    def test_only_the_services_own_names(self):
        app = make_app(FakeRecommender(), hosts=("localhost", "127.0.0.1", "[::1]"))
        for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"):
            assert call(app, "GET", "/health", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil", "a@localhost", ""):
            answer = call(app, "GET", "/", headers={"Host": host})
            assert answer.status_code == 400, host
            assert set(answer.json()) == {"error"}

    @pytest.mark.parametrize("path", ["/", "/docs", "/health", "/nope", "/recommend?user=a"])
    def test_every_answer_has_the_security_headers(self, path):
        app = make_app(FakeRecommender(), token=TOKEN)
        headers = call(app, "GET", path).headers
        for name, value in SECURITY_HEADERS.items():
            if name != "cache-control":
                assert headers[name] == value
        assert "access-control-allow-origin" not in headers
        assert "unsafe-inline" not in headers["content-security-policy"]

    def test_other_origins_get_no_leave(self, app):
        asking = {
            "Origin": "http://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        answer = call(app, "OPTIONS", "/recommend", headers=asking)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]

    def test_the_log_does_not_tell_who_asks(self, app, caplog):
        caplog.set_level(logging.INFO)
        call(app, "GET", "/recommend?user=u-secret&items=")
        call(app, "POST", "/recommend", json={"user": "u-secret"})
        call(app, "GET", "/u-secret")
        assert "GET /recommend 422" in caplog.text
        assert "POST /recommend 200" in caplog.text
        ours = [one for one in caplog.messages if "HTTP Request" not in one]
        assert "secret" not in "".join(ours)
        assert "127.0.0.1" not in "".join(ours)
