"""Requests that never reach the application are answered like others, and close the connection."""

import json
import logging
import socket

import pytest
from calls import FakeRecommender, make_app, serving
from patience import PATIENCE

from perennial.replay.service.limits import ServiceLimits
from perennial.replay.service.monitoring import SECURITY_HEADERS

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODY = b'{"user": "a"}'


@pytest.fixture(scope="module")
def address():
    limits = ServiceLimits(max_header=2048)
    with serving(make_app(FakeRecommender(), limits), limits) as bound:
        yield bound.getsockname()


def exchange(address, data):
    """Send bytes; return all that comes until the service closes the connection."""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(data)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def parse(answer):
    """Status, headers and JSON of the one answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert answer.count(b"HTTP/1.1 ") == 1
    return int(first.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST + CHUNKED + b"Content-Length: 5\r\n\r\nd\r\n" + BODY + b"\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 13\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + HEALTH + b"\r\n", 400),
        (HEALTH + b"Content-Length: 0\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + HEALTH + b"\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (HEALTH + b"no header\r\n\r\n", 400),
        (HEALTH + b"X-Line: a\x00b\r\n\r\n", 400),
        (HEALTH + b"Host: other\r\n\r\n", 400),
        (POST + b"Content-Length: many\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (POST + CHUNKED + b"\r\nsize\r\n", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEALTH + b"X-Long: " + b"x" * 200_000, 431),
    ],
)
def test_it_is_refused_in_json_and_the_connection_closed(address, request_bytes, status):
    found, headers, body = parse(exchange(address, request_bytes))
    assert found == status
    assert (headers["connection"], headers["content-type"]) == ("close", "application/json")
    assert list(body) == ["error"]
    assert set(SECURITY_HEADERS) <= set(headers)


def test_a_chunked_body_alone_is_answered(address):
    data = POST + CHUNKED + b"Connection: close\r\n\r\nd\r\n" + BODY + b"\r\n0\r\n\r\n"
    assert parse(exchange(address, data))[0] == 200


def test_nonsense_after_a_request_is_refused_alone(address, caplog):
    with caplog.at_level(logging.ERROR):
        answer = exchange(address, HEALTH + b"\r\n" + b"nonsense\r\n\r\n")
    first, second = (b"HTTP/1.1 " + one for one in answer.split(b"HTTP/1.1 ")[1:])
    assert (parse(first)[0], parse(second)[0]) == (200, 400)
    assert caplog.text == ""


def test_too_many_connections_are_refused_in_json():
    limits = ServiceLimits(connections=2)
    with serving(make_app(FakeRecommender(), limits), limits) as bound:
        address = bound.getsockname()
        assert parse(exchange(address, HEALTH + b"Connection: close\r\n\r\n"))[0] == 200
        with socket.create_connection(address, timeout=PATIENCE) as kept:
            kept.sendall(HEALTH + b"\r\n")
            assert kept.recv(65536).startswith(b"HTTP/1.1 200")
            status, headers, body = parse(exchange(address, HEALTH + b"\r\n"))
            assert (status, headers["retry-after"], list(body)) == (503, "1", ["error"])
            assert set(SECURITY_HEADERS) <= set(headers)
