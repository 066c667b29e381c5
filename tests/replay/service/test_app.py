"""Routes: responses, refusals, and no identifier where none may be."""

import logging

import pytest
from calls import STATUS, TOKEN, FakeRecommender, FixedStatus, call, make_app, make_service
from prometheus_client.parser import text_string_to_metric_families

from perennial.replay.recommend.catalogue import UnknownName
from perennial.replay.recommend.recommender import RecommendationQuery, RecommendedItem
from perennial.replay.service.limits import Refusal
from perennial.replay.service.monitoring import SECURITY_HEADERS
from perennial.storage.errors import UserError

BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def queries():
    """Queries that reached the recommender."""
    return []


@pytest.fixture
def app(queries):
    def recommend(query):
        queries.append(query)
        return (RecommendedItem("i1", 0.5, "One"), RecommendedItem(2, 0.25, None))

    return make_app(FakeRecommender(recommend))


class TestRecommending:
    def test_the_answer_names_the_model(self, app):
        body = call(app, "POST", "/recommend", json={"user": "u1"}).json()
        assert body == {
            "period": 7,
            "published": "2026-01-02T03:04:05Z",
            "model": "infinite-ae",
            "strategy": "individual",
            "recommendations": [
                {"item": "i1", "score": 0.5, "title": "One"},
                {"item": 2, "score": 0.25},
            ],
        }

    def test_every_field_reaches_the_recommender(self, app, queries):
        options = {"k": 3, "exclude": ["x", 5], "exclude_seen": False, "why": True}
        call(app, "POST", "/recommend", json={"items": ["a", 7], **options})
        query = "items=a,7&k=3&exclude=x,5&exclude_seen=false&why=true"
        call(app, "GET", f"/recommend?{query}")
        call(app, "POST", "/recommend", json={"user": 12.0})
        expected = RecommendationQuery(None, ("a", "7"), 3, ("x", "5"), False, True)
        assert queries == [expected, expected, RecommendationQuery(user="12")]

    @pytest.mark.parametrize(
        ("item", "sent"),
        [(2**53 - 1, 2**53 - 1), (2**53, str(2**53)), (-(2**53), str(-(2**53))), ("7", "7")],
    )
    def test_no_number_is_sent_that_javascript_would_round(self, item, sent):
        app = make_app(FakeRecommender(lambda _query: (RecommendedItem(item, 1.0, None),)))
        (one,) = call(app, "POST", "/recommend", json={"user": 5.0}).json()["recommendations"]
        assert one["item"] == sent
        properties = call(app, "GET", "/openapi.json").json()["components"]["schemas"]
        text, number = properties["ItemResponse"]["properties"]["item"]["anyOf"]
        assert (text["type"], number["type"]) == ("string", "integer")
        assert (number["minimum"], number["maximum"]) == (1 - 2**53, 2**53 - 1)

    def test_the_real_model_recommends_with_reasons(self, recommender):
        app = make_app(recommender)
        body = call(app, "POST", "/recommend", json={"items": ["i4"], "k": 2, "why": True}).json()
        assert len(body["recommendations"]) == 2
        first = body["recommendations"][0]["reasons"][0]
        assert first["shared"] == [{"item": "i4", "title": "Item number 4"}]
        by_address = call(app, "GET", "/recommend?items=i4&k=2&why=true")
        assert by_address.json() == body
        again = call(app, "POST", "/recommend", json={"user": "u3", "k": 1000}).json()
        assert "reasons" not in again["recommendations"][0]

    def test_identifiers_of_any_script_arrive(self, app, queries):
        call(app, "POST", "/recommend", json={"user": "Žofie 🌱, ½"})
        call(app, "GET", "/recommend", params={"user": "Žofie 🌱, ½"})
        assert [one.user for one in queries] == ["Žofie 🌱, ½"] * 2


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
    "no items": ({"items": []}, "items: must have at least 1"),
    "many items": ({"items": ["a"] * 1001}, "items: must have at most 1000"),
    "a bad item": ({"items": ["a", {}]}, "items.1: give a text"),
    "many excluded": ({"user": "a", "exclude": ["a"] * 1001}, "exclude: must have at most"),
    "k 0": ({"user": "a", "k": 0}, "k: must be at least 1"),
    "k 1001": ({"user": "a", "k": 1001}, "k: must be at most 1000"),
    "k text": ({"user": "a", "k": "3"}, "k: must be a whole number"),
    "k true": ({"user": "a", "k": True}, "k: must be a whole number"),
    "why text": ({"user": "a", "why": "yes"}, "why: must be true or false"),
    "unknown": ({"user": "a", "usre": 1}, "usre: is unknown"),
}


class TestRefusing:
    @pytest.mark.parametrize(("body", "line"), INVALID.values(), ids=INVALID)
    def test_an_invalid_body(self, app, queries, body, line):
        response = call(app, "POST", "/recommend", json=body)
        assert (response.status_code, set(response.json())) == (422, {"error"})
        assert line in response.json()["error"]
        assert queries == []

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[" * 100_000, b'{"user": "\xff"}', b'{"user": "\\ud800"}', b"9" * 9999],
        ids=["empty", "cut", "deep", "no UTF-8", "half a character", "a long number"],
    )
    def test_a_body_that_is_no_json(self, app, queries, body):
        response = call(app, "POST", "/recommend", content=body, headers=JSON)
        assert response.status_code == 422
        assert "\n" not in response.json()["error"]
        assert queries == []

    @pytest.mark.parametrize(
        "query", ["", "user=a&items=b", "items=a,,b", "user=a&k=0", "user=a&q=1", "user=a&why=1"]
    )
    def test_an_invalid_address(self, app, queries, query):
        assert call(app, "GET", f"/recommend?{query}").status_code == 422
        assert queries == []

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
    def test_another_content_type(self, app, kind):
        # A form on a page of another site can send these without a preflight request.
        headers = {} if kind is None else {"Content-Type": kind}
        response = call(app, "POST", "/recommend", content=b'{"user": "a"}', headers=headers)
        assert response.status_code == 415

    @pytest.mark.parametrize(
        ("error", "status"),
        [(UnknownName("user 'x' is\nnot there", ["x"]), 404), (UserError("makes no sense"), 422)],
    )
    def test_errors_of_the_recommender(self, error, status):
        def recommend(_query):
            raise error

        body = call(make_app(FakeRecommender(recommend)), "POST", "/recommend", json={"user": "x"})
        assert body.status_code == status
        assert body.json() == {"error": " ".join(str(error).split())}

    def test_without_a_model(self):
        for method, path, options in (
            ("GET", "/health", {}),
            ("GET", "/recommend?user=a", {}),
            ("POST", "/recommend", {"json": {"user": "a"}}),
        ):
            response = call(make_app(None), method, path, **options)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            assert "no model is published yet" in response.json()["error"]

    def test_unknown_pages_and_methods(self, app):
        for path in ("/nope", "/page/", "/page/../app.py", "/page/%2e%2e/app.py", "/docs/x.js"):
            response = call(app, "GET", path)
            assert response.status_code == 404
            assert set(response.json()) == {"error"}
        response = call(app, "PUT", "/recommend")
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, POST")

    def test_a_bug_is_one_line(self, caplog):
        def recommend(_query):
            raise ZeroDivisionError("of u-secret")

        app = make_app(FakeRecommender(recommend))
        response = call(app, "POST", "/recommend", json={"user": "a"})
        assert response.status_code == 500
        assert "secret" not in response.text
        assert "ZeroDivisionError" in caplog.text


class TestState:
    def test_health_and_status(self, app):
        body = call(app, "GET", "/health").json()
        assert body.pop("uptime_seconds") >= 0
        assert body == {"period": 7, "published": "2026-01-02T03:04:05Z", "fit_key": "0123456789ab"}
        assert call(app, "GET", "/status").json() == STATUS

    def test_a_status_that_cannot_be_read(self):
        service = make_service(status=FixedStatus(Refusal(503, "the store is being written")))
        response = call(make_app(service=service), "GET", "/status")
        assert response.status_code == 503
        assert response.json() == {"error": "the store is being written"}

    def test_metrics(self, app):
        call(app, "POST", "/recommend", json={"user": "a"})
        call(app, "GET", "/recommend")
        call(app, "GET", "/some/name/of/their/own")
        response = call(app, "GET", "/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }
        assert found["perennial_requests_total", "/recommend", "200"] == 1
        assert found["perennial_requests_total", "/recommend", "422"] == 1
        assert found["perennial_requests_total", "other", "404"] == 1
        assert found["perennial_request_seconds_count", "/recommend", "200"] == 1
        assert found["perennial_requests_in_flight",] == 1, "this request itself"


class TestGuards:
    def test_all_routes_but_health_and_static_files_need_the_token(self):
        app = make_app(FakeRecommender(), token=TOKEN)
        for path in ("/status", "/metrics", "/openapi.json", "/recommend?user=a", "/nope"):
            response = call(app, "GET", path)
            assert response.status_code == 401, path
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert call(app, "GET", path, headers=BEARER).status_code in (200, 404)
        for path in ("/health", "/", "/docs", "/page/app.js", "/docs/swagger-ui.css"):
            assert call(app, "GET", path).status_code == 200, path
        document = call(app, "GET", "/openapi.json", headers=BEARER).json()
        assert document["paths"]["/recommend"]["post"]["security"] == [{"HTTPBearer": []}]
        assert "security" not in document["paths"]["/health"]["get"]

    @pytest.mark.parametrize(
        "authorization",
        [f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer x", f"Bearer {TOKEN}x", "Bearer \xff"],
    )
    def test_other_tokens(self, authorization):
        app = make_app(FakeRecommender(), token=TOKEN)
        headers = {"Authorization": authorization.encode("latin-1")}
        assert call(app, "GET", "/status", headers=headers).status_code == 401

    def test_only_allowed_host_names(self):
        app = make_app(FakeRecommender(), hosts=("localhost", "127.0.0.1", "[::1]"))
        for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"):
            assert call(app, "GET", "/health", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil", "a@localhost", ""):
            response = call(app, "GET", "/", headers={"Host": host})
            assert response.status_code == 400, host
            assert set(response.json()) == {"error"}

    @pytest.mark.parametrize("path", ["/", "/docs", "/health", "/nope", "/recommend?user=a"])
    def test_every_response_has_the_security_headers(self, path):
        app = make_app(FakeRecommender(), token=TOKEN)
        headers = call(app, "GET", path).headers
        common = {name: headers[name] for name in SECURITY_HEADERS}
        assert common | {"cache-control": ""} == SECURITY_HEADERS | {"cache-control": ""}
        assert "access-control-allow-origin" not in headers
        assert "unsafe-inline" not in headers["content-security-policy"]

    def test_other_origins_are_not_allowed(self, app):
        preflight = {
            "Origin": "http://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        response = call(app, "OPTIONS", "/recommend", headers=preflight)
        assert response.status_code == 405
        assert not [name for name in response.headers if name.startswith("access-control")]

    def test_the_log_names_no_user(self, app, caplog):
        caplog.set_level(logging.INFO)
        call(app, "GET", "/recommend?user=u-secret&items=")
        call(app, "POST", "/recommend", json={"user": "u-secret"})
        call(app, "GET", "/u-secret")
        assert "GET /recommend 422" in caplog.text
        assert "POST /recommend 200" in caplog.text
        ours = [one for one in caplog.messages if "HTTP Request" not in one]
        assert "secret" not in "".join(ours)
        assert "127.0.0.1" not in "".join(ours)
