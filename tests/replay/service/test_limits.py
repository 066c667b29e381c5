"""Early refusal of requests that are too long, too slow or too many."""

import asyncio
import threading

import pytest
from calls import FakeRecommender, call, calls, make_app, make_service
from patience import PATIENCE, wait_until

from perennial.replay.recommend.recommender import RecommendedItem
from perennial.replay.service.limits import Refusal, ServiceLimits, WorkQueue

JSON = {"Content-Type": "application/json"}
POST = ("POST", "/recommend", {"json": {"user": "a"}})


def post(content, limits, **headers):
    """Send a body with a content type."""
    app = make_app(FakeRecommender(), limits)
    return call(app, "POST", "/recommend", content=content, headers=JSON | headers)


class Gate:
    """Recommendations wait until it opens."""

    def __init__(self):
        self.opened, self.running, self.most = threading.Event(), 0, 0
        self._lock = threading.Lock()

    def recommend(self, _query):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.opened.wait(PATIENCE)
        with self._lock:
            self.running -= 1
        return (RecommendedItem("i1", 0.5, None),)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


class TestBody:
    limits = ServiceLimits(max_body=100)

    def test_one_that_just_fits(self):
        assert post(b'{"user": "a"}'.ljust(100), self.limits).status_code == 200

    def test_one_that_says_that_it_is_too_long_is_not_read(self):
        async def body():
            raise AssertionError("read")
            yield b""

        answer = post(body(), self.limits, **{"Content-Length": "101"})
        assert (answer.status_code, answer.headers["Connection"]) == (413, "close")
        assert "100 bytes" in answer.json()["error"]

    @pytest.mark.parametrize("length", ["5", "x", "9" * 5000], ids=["too small", "none", "absurd"])
    def test_one_that_lies_about_its_length(self, length):
        assert post(b"x" * 101, self.limits, **{"Content-Length": length}).status_code == 413

    def test_one_without_a_length_is_cut_while_it_comes(self):
        sent = []

        async def endless():
            while True:
                sent.append(1)
                yield b"x" * 30

        assert post(endless(), self.limits).status_code == 413
        assert len(sent) == 4

    def test_one_that_does_not_come_to_its_end(self):
        async def slow():
            yield b"{"
            await asyncio.sleep(60)

        answer = post(slow(), ServiceLimits(request_seconds=0.1))
        assert (answer.status_code, answer.headers["Connection"]) == (408, "close")


def test_an_address_and_headers_that_are_too_long():
    app = make_app(FakeRecommender(), ServiceLimits(max_header=1000))
    for path, headers in (
        ("/health", {"X-Long": "x" * 1000}),
        ("/" + "x" * 1000, {}),
        ("/recommend?user=" + "x" * 1000, {}),
    ):
        answer = call(app, "GET", path, headers=headers)
        assert (answer.status_code, answer.headers["Connection"]) == (431, "close")
    assert call(app, "GET", "/recommend?user=a").status_code == 200


class TestWork:
    def test_so_many_run_so_many_wait_and_the_rest_comes_back_later(self, gate):
        service = make_service(FakeRecommender(gate.recommend), scorings=2, waiting=3)
        app = make_app(service=service)
        refused = 'perennial_refused_total{status="429"} 4.0'

        def open_gate():
            wait_until(lambda: refused in service.metrics.render().decode())
            gate.opened.set()

        threading.Thread(target=open_gate).start()
        found = calls(app, [POST] * 9)
        statuses = sorted(one.status_code for one in found)
        assert statuses == [200] * 5 + [429] * 4
        assert gate.most == 2
        late = next(one for one in found if one.status_code == 429)
        assert late.headers["Retry-After"] == "1"
        again = calls(app, [POST] * 5)
        assert [one.status_code for one in again] == [200] * 5, "all places are free again"

    def test_an_answer_that_takes_too_long_is_given_up(self, gate):
        service = make_service(FakeRecommender(gate.recommend), waiting=1)
        app = make_app(limits=ServiceLimits(request_seconds=1), service=service)
        found = calls(app, [POST] * 3)
        assert [one.status_code for one in found] == [503] * 3
        assert found[0].headers["Retry-After"] == "1"
        assert gate.running == 2, "threads cannot be stopped; they keep their places"
        gate.opened.set()
        wait_until(lambda: not gate.running)
        found = calls(make_app(service=service), [POST] * 3)
        assert [one.status_code for one in found] == [200] * 3

    def test_health_answers_while_all_places_are_taken(self, gate):
        limits = ServiceLimits(request_seconds=2)
        app = make_app(
            limits=limits, service=make_service(FakeRecommender(gate.recommend), waiting=0)
        )
        asked = [POST] * 4 + [("GET", "/health", {})]
        assert calls(app, asked)[-1].status_code == 200

    def test_what_fails_gives_its_place_back(self):
        queue = WorkQueue("test", 1, 0)

        def fail():
            raise ValueError("no")

        async def twice():
            for _ in range(2):
                with pytest.raises(ValueError, match="no"):
                    await queue.run(fail)
                await asyncio.sleep(0.05)

        asyncio.run(twice())

    def test_a_closed_queue_refuses(self):
        queue = WorkQueue("test", 1, 0)
        queue.close()
        for _ in range(2):
            with pytest.raises(Refusal) as refused:
                asyncio.run(queue.run(int))
            assert refused.value.status == 503
