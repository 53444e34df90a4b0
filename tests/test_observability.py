"""Observability: log lines, metrics, request ids; and the security headers of every response."""

import contextlib
import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.databases import Databases
from helpers.keys import make_key
from helpers.service import Service, call, run_flask, serve

from contacts_service.contacts import queries

SECRET_NUMBER, SECRET_NAME = "+4915112345678", "Erika Mustermann"


def lines(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.logged.splitlines()]


def samples(text: str) -> dict[str, float]:
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines()) if name[:1] != "#"
    }


def metrics(service: Service) -> dict[str, float]:
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        return samples(response.read().decode())


def test_each_request_is_one_json_line_without_personal_data(service: Service) -> None:
    status, response = call(service, "POST", "/api/contacts", {"phone_number": SECRET_NUMBER, "name": SECRET_NAME})
    assert status == 201
    contact = response["data"]["id"]
    call(service, "GET", f"/api/contacts/{contact}", None, {"X-Request-ID": "mine-1", "X-API-Key": ""})
    call(service, "GET", "/api/contacts?search=Mustermann&phone_number=4915112345678")
    call(service, "GET", f"/nothing/{SECRET_NAME.replace(' ', '-')}")
    call(service, "POST", "/api/contacts", {"phone_number": SECRET_NUMBER})
    logged = [line for line in lines(service) if line["message"] == "request" and "healthz" not in line["route"]]
    assert [(line["method"], line["route"], line["status"]) for line in logged] == [
        ("POST", "/api/contacts", 201),
        ("GET", "/api/contacts/{id}", 401),
        ("GET", "/api/contacts", 200),
        ("(unknown)", "(unknown)", 404),
        ("POST", "/api/contacts", 409),
    ]
    assert logged[1]["request_id"] == "mine-1"
    assert all(line["ms"] > 0 and line["request_id"] and line["time"].endswith("+00:00") for line in logged)
    text = service.logged
    for secret in (SECRET_NUMBER.lstrip("+"), "Erika", "Mustermann", contact):
        assert secret not in text


@pytest.mark.processes
def test_log_line_names_the_key_but_not_its_secret(kind: str, databases: Databases, tmp_path: Path) -> None:
    url = databases.create(kind)
    key = run_flask(url, "keys", "create", "chatbot", "--scope", "contacts:read").stdout.strip()
    with serve(url, tmp_path) as service:
        call(service, "GET", "/api/contacts", None, {"X-API-Key": key})
        call(service, "GET", "/api/contacts", None, {"Authorization": f"Bearer {key}"})
        named = [
            line["key"] for line in lines(service) if line.get("status") == 200 and line.get("route") == "/api/contacts"
        ]
        assert named[-2:] == ["chatbot", "chatbot"]
        assert key.split("_", 2)[2] not in service.log.read_text()


def test_request_rejected_by_the_server_is_logged_without_its_content(service: Service) -> None:
    request = urllib.request.Request(f"{service.url}/{SECRET_NAME.replace(' ', '-')}{'x' * 9000}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 414
    [line] = [line for line in lines(service) if line["message"] == "refused"]
    assert (line["status"], line["request_id"]) == (414, refused.value.headers["X-Request-ID"])
    assert "Erika" not in service.logged


def test_crash_is_logged_with_a_traceback_that_the_response_omits(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError(f"near SELECT\nDETAIL: Key ({SECRET_NUMBER})")

    monkeypatch.setattr(queries, "get_contact", crash)
    response = app.test_client().get("/api/contacts/01890a5d-ac96-774b-bcce-b302099a8057")
    assert (response.status_code, response.json["code"]) == (500, "internal_error")
    for inside in ("RuntimeError", "SELECT", "Traceback", "queries.py", "use_cases.py"):
        assert inside not in response.text
    [record] = [record for record in caplog.records if record.message == "the request failed"]
    assert record.request_id == response.json["request_id"]
    assert "in crash" in record.traceback
    assert "RuntimeError: near SELECT" in record.traceback
    assert SECRET_NUMBER not in record.traceback


@pytest.mark.processes
def test_metrics_include_all_workers_even_dead_ones(kind: str, databases: Databases, tmp_path: Path) -> None:
    with serve(databases.create(kind), tmp_path, WEB_CONCURRENCY="3") as service:
        assert call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[0] == 201
        assert call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[0] == 409
        for _ in range(30):
            assert call(service, "GET", "/api/contacts")[0] == 200
        counted = 'contacts_http_requests_total{method="GET",route="/api/contacts",status="200"}'
        before = metrics(service)
        deadline = time.monotonic() + 20
        while before["contacts_database_connections_busy"] > 0:  # A worker that is still starting.
            assert time.monotonic() < deadline
            before = metrics(service)
        assert before[counted] == 30
        assert before['contacts_http_requests_total{method="POST",route="/api/contacts",status="201"}'] == 1
        assert before['contacts_errors_total{code="contact_exists"}'] == 1
        assert before['contacts_http_request_duration_seconds_count{method="GET",route="/api/contacts"}'] == 30
        assert before['contacts_database_duration_seconds_count{access="writing"}'] >= 2
        assert before['contacts_database_duration_seconds_count{access="reading"}'] >= 30
        assert before["contacts_database_faults_total"] == 0
        assert before["contacts_database_connections_open"] >= 1
        for worker in workers_of(service):
            os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 20
        after: dict[str, float] = {}
        # Until the master has noticed its dead workers; the new ones have handled no request yet.
        while not after or after["contacts_database_connections_open"] > 0:
            assert time.monotonic() < deadline, after
            with contextlib.suppress(OSError):
                after = metrics(service)
        assert after[counted] == 30


def workers_of(service: Service) -> list[int]:
    return [
        int(pid) for pid in Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    ]


def test_arbitrary_requests_create_no_metric_series(app: Flask) -> None:
    """Each series costs memory until the process ends."""
    client = app.test_client()
    client.get("/metrics")
    before = set(samples(client.get("/metrics").text))
    for number in range(20):
        client.get(f"/api/contacts/no-uuid-{number}")
        client.get(f"/made/up/{number}")
        client.open("/api/contacts", method=f"MADE{number}")
    added = {name for name in set(samples(client.get("/metrics").text)) - before if "_bucket" not in name}
    assert not [name for name in added if re.search("no-uuid|/made/up|MADE", name)]
    assert len(added) < 20


def test_docs_page_may_run_only_its_own_script(app: Flask) -> None:
    page = app.test_client().get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


PATHS = ["/api/contacts", "/docs", "/docs/swagger-ui.css", "/docs/nothing", "/openapi.json", "/healthz", "/metrics"]


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "POST /docs"])
def test_every_response_has_security_headers(app: Flask, path: str) -> None:
    method, _, path = path.rpartition(" ")
    headers = app.test_client().open(path, method=method or "GET").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert path != "/api/contacts" or headers["Cache-Control"] == "private, no-cache"


def test_no_response_reveals_a_version(service: Service) -> None:
    for path in ("/healthz", "/nothing", "/api/contacts"):
        try:
            with urllib.request.urlopen(f"{service.url}{path}", timeout=10) as response:
                headers = str(response.headers)
        except urllib.error.HTTPError as error:
            headers = str(error.headers)
        assert not re.search(r"gunicorn/|Werkzeug|Python/", headers)


def test_health_reveals_nothing_else(app: Flask) -> None:
    make_key(app)
    for path in ("/healthz", "/readyz"):
        assert Caller(app).get(path).body == {"status": "success", "data": {"healthy": True}}
