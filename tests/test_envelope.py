"""Every response is in the envelope, for any path, method or malformed request."""

import contextlib
import json
import re
import socket

import pytest
from helpers.caller import UUID, Caller, Response
from helpers.service import Service


@pytest.mark.parametrize("path", ["/", "/api", "/api/nothing", "/api/contacts/", "//api/contacts", "/api//contacts"])
def test_unknown_path_is_404(caller: Caller, path: str) -> None:
    response = caller.get(path)
    assert (response.status, response.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/contacts", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/api/contacts", {"GET", "HEAD", "POST"}),
        ("TRACE", "/api/contacts", {"GET", "HEAD", "POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("GET", "/api/contacts/01890a5d-ac96-774b-bcce-b302099a8057/assign", {"PUT"}),
    ],
)
def test_unsupported_method_is_405(caller: Caller, method: str, path: str, allowed: set[str]) -> None:
    received = caller.client.open(path, method=method)
    response = Response(received.status_code, json.loads(received.data), received.headers)
    assert (response.status, response.code) == (405, "method_not_allowed")
    assert set(re.split(", *", response.headers["Allow"])) == allowed


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/xml, text/*;q=0.5", "application/json;q=0", "application/json;q=0, */*", "nonsense"],
)
def test_accept_header_without_json_is_406(caller: Caller, accept: str) -> None:
    response = caller.request("GET", "/api/contacts", headers={"Accept": accept})
    assert (response.status, response.code) == (406, "not_acceptable")


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/*",
        "text/html, application/json;q=0.1",
        "",
        "application/json; charset=utf-8",
        "Application/JSON",
    ],
)
def test_accept_header_with_json_is_accepted(caller: Caller, accept: str) -> None:
    assert caller.request("GET", "/api/contacts", headers={"Accept": accept}).status == 200


def test_request_id_is_accepted_or_generated_and_always_returned(caller: Caller) -> None:
    taken = caller.request("GET", "/api/contacts", headers={"X-Request-ID": "my-request.1"})
    assert taken.headers["X-Request-ID"] == "my-request.1"
    assert re.fullmatch(UUID, caller.get("/api/contacts").headers["X-Request-ID"])
    for unusable in ("", "a b", "x" * 129, "é"):
        made = caller.request("GET", "/api/nothing", headers={"X-Request-ID": unusable})
        assert re.fullmatch(UUID, made.body["request_id"])


CHUNKED = (
    b"POST /api/contacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
)
NOT_HTTP = [
    (b"nonsense\r\n\r\n", 400),
    (b"GET /healthz HTTP/9.9\r\n\r\n", 400),
    (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", 414),
    (b"GET /healthz HTTP/1.1\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n", 431),
    (b"GET /healthz HTTP/1.1\r\nbad header\r\n\r\n", 400),
    (b"POST /api/contacts HTTP/1.1\r\nHost: localhost\r\nContent-Length: nine\r\n\r\n", 400),
    (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
    (CHUNKED + b"not a chunk\r\n\r\n", 400),
    (CHUNKED + b"200000\r\n" + b"x" * 0x200000 + b"\r\n0\r\n\r\n", 413),
]


def test_malformed_http_is_answered_in_the_envelope(service: Service) -> None:
    """The WSGI server rejects most of these before they reach the application."""
    for sent, status in NOT_HTTP:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            received = b""
            with contextlib.suppress(ConnectionError):  # It may close the connection before all is sent.
                connection.sendall(sent)
            with contextlib.suppress(ConnectionError):
                while chunk := connection.recv(65536):
                    received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.split()[1] == str(status).encode(), sent[:50]
        assert b"application/json" in head
        response = json.loads(body)
        assert (response["status"], response["data"]) == ("error", None)
        assert response["message"]
        assert response["code"]
        assert response["request_id"].encode() in head
