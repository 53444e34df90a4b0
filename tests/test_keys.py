"""API keys: sending, creating, listing and revoking them, and access while none exists."""

import hashlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from helpers.caller import Caller
from helpers.databases import Databases
from helpers.examples import ACCOUNT
from helpers.keys import make_key
from helpers.service import run_flask, serve, status_of

from contacts_service.db.database import reading
from contacts_service.errors import Unauthenticated
from contacts_service.keys import keyring as keyring_module
from contacts_service.keys.keyring import Keyring, create_key, list_keys, revoke_key
from contacts_service.keys.tables import ApiKey
from contacts_service.web.auth import SCOPES

READ = ["contacts:read"]


def becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("form", ["X-API-Key: {}", "Authorization: Bearer {}", "Authorization: bearer  {} "])
def test_key_is_accepted_in_either_header(app: Flask, form: str) -> None:
    name, _, value = form.format(make_key(app, scopes=READ)).partition(": ")
    assert Caller(app).request("GET", "/api/contacts", headers={name: value}).status == 200


def test_other_authorization_scheme_is_401(app: Flask) -> None:
    key = create_key("reader", scopes=READ)
    assert Caller(app).request("GET", "/api/contacts", headers={"Authorization": f"Basic {key}"}).status == 401


@pytest.mark.parametrize(
    ("environ", "headers"),
    [
        ({"REMOTE_ADDR": "10.0.0.5"}, {}),
        ({"REMOTE_ADDR": "fd00::1"}, {}),
        ({"REMOTE_ADDR": ""}, {}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"X-Forwarded-For": "127.0.0.1"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"Via": "1.1 proxy"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"X-Forwarded-Host": "localhost"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"X-Forwarded-Proto": "https"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"CF-Connecting-IP": "127.0.0.1"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"Origin": "https://elsewhere.example"}),
        ({"REMOTE_ADDR": "127.0.0.1"}, {"Host": "rebound.example:8000"}),
    ],
)
def test_remote_request_is_403_while_no_key_exists(
    app: Flask, environ: dict[str, str], headers: dict[str, str]
) -> None:
    response = Caller(app).request("GET", "/api/contacts", environ_overrides=environ, headers=headers)
    assert (response.status, response.code) == (403, "local_only")
    health = Caller(app).request("GET", "/healthz", environ_overrides=environ, headers=headers)
    assert health.body["data"] == {"healthy": True}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_local_request_is_allowed_while_no_key_exists(app: Flask, address: str, host: str) -> None:
    environ = {"REMOTE_ADDR": address}
    response = Caller(app).request("GET", "/api/contacts", environ_overrides=environ, headers={"Host": host})
    assert response.status == 200


def test_revoking_the_last_key_does_not_allow_local_requests_again(app: Flask) -> None:
    revoke_key(create_key("gone", scopes=READ).split("_")[1])
    assert Caller(app).get("/api/contacts").status == 401


def test_wrong_key_is_401_while_no_key_exists(app: Flask) -> None:
    assert Caller(app, "contacts_000000000000_x").get("/api/contacts").status == 401


def test_only_a_hash_of_the_key_is_stored(app: Flask) -> None:
    assert app
    key = create_key("reader", scopes=READ)
    _, prefix, secret = key.split("_", 2)
    with reading():
        [row] = ApiKey.select().tuples()
    assert secret not in str(row)
    assert hashlib.sha256(secret.encode()).hexdigest() in row
    assert len(secret) * 6 >= 128, "a character holds six bits"
    assert create_key("reader", scopes=READ).split("_", 2)[2] != secret
    assert prefix in row


def test_keys_are_checked_from_memory(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(app, create_key("reader", scopes=READ))
    read: list[float] = []
    monkeypatch.setattr(keyring_module, "list_keys", lambda real=keyring_module.list_keys: read.append(1) or real())
    for _ in range(20):
        assert caller.get("/api/contacts").status == 200
    assert len(read) == 1


def test_cached_keys_are_not_trusted_for_long(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key may have been revoked since."""
    assert app
    now = [1000.0]
    monkeypatch.setattr(keyring_module.time, "monotonic", lambda: now[0])
    key = create_key("reader", scopes=READ)
    keyring = Keyring()
    assert keyring.caller_of(key).name == "reader"
    revoke_key(key.split("_")[1])
    now[0] += 1.0
    assert keyring.caller_of(key).name == "reader", "the cached keys are used"
    now[0] += 2.0
    with pytest.raises(Unauthenticated):
        keyring.caller_of(key)


def test_cached_keys_are_trusted_two_seconds_longer_during_a_refresh(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app
    now, reads = [1000.0], [0]
    monkeypatch.setattr(keyring_module.time, "monotonic", lambda: now[0])
    real = keyring_module.list_keys
    monkeypatch.setattr(keyring_module, "list_keys", lambda: reads.__setitem__(0, reads[0] + 1) or real())
    key = create_key("reader", scopes=READ)
    keyring = Keyring()
    keyring.caller_of(key)
    keyring._renewing.acquire()  # noqa: SLF001 - As a request that waits for a slow database does.
    now[0] += 3.0
    assert keyring.caller_of(key).name == "reader"
    assert reads == [1]
    now[0] += 1.5
    keyring.caller_of(key)
    assert reads == [2], "the cached keys have expired"


def test_age_of_cached_keys_counts_from_before_the_read(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key may be revoked while the query runs, and an older result never replaces a newer one."""
    assert app
    now = [1000.0]
    monkeypatch.setattr(keyring_module.time, "monotonic", lambda: now[0])
    real = keyring_module.list_keys
    key = create_key("reader", scopes=READ)
    keyring = Keyring()

    def slow() -> list[dict[str, object]]:
        read = real()
        now[0] += 3.0
        return read

    monkeypatch.setattr(keyring_module, "list_keys", slow)
    keyring.caller_of(key)
    monkeypatch.setattr(keyring_module, "list_keys", real)
    revoke_key(key.split("_")[1])
    with pytest.raises(Unauthenticated):
        keyring.caller_of(key)

    def overtaken() -> list[dict[str, object]]:
        read = real()
        now[0] += 3.0
        monkeypatch.setattr(keyring_module, "list_keys", list)
        keyring._renew()  # noqa: SLF001 - As another thread does at the same time.
        return read

    monkeypatch.setattr(keyring_module, "list_keys", overtaken)
    keyring._renew()  # noqa: SLF001
    assert keyring.is_empty(), "the newer result is kept"


def test_guessing_keys_costs_no_query_each(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    now, reads = [1000.0], [0]
    monkeypatch.setattr(keyring_module.time, "monotonic", lambda: now[0])
    real = keyring_module.list_keys
    monkeypatch.setattr(keyring_module, "list_keys", lambda: reads.__setitem__(0, reads[0] + 1) or real())
    for _ in range(20):
        now[0] += 0.001
        assert Caller(app, "contacts_000000000000_x").get("/api/contacts").status == 401
    assert reads == [1]
    key = create_key("new", scopes=READ)
    now[0] += 0.1
    assert Caller(app, key).get("/api/contacts").status == 200


def test_head_requires_the_scope_of_get(app: Flask) -> None:
    reader, writer = make_key(app, scopes=READ), make_key(app, scopes=["contacts:write"])
    for key, status in ((reader, 200), (writer, 403)):
        assert app.test_client().head("/api/contacts", headers={"X-API-Key": key}).status_code == status


@pytest.mark.processes
def test_key_revoked_while_the_body_arrives_writes_nothing(kind: str, databases: Databases, tmp_path: Path) -> None:
    url = databases.create(kind)
    key = run_flask(url, "keys", "create", "slow", "--scope", "contacts:write").stdout.strip()
    body = b'{"phone_number": "+1234567890"}'
    head = f"POST /api/contacts HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    with serve(url, tmp_path, WEB_CONCURRENCY="1") as service:
        port = int(service.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert b"100 Continue" in connection.recv(1000), "the key was valid when the request started"
            run_flask(url, "keys", "revoke", key.split("_")[1])
            assert becomes_true(lambda: status_of(f"{service.url}/api/contacts", {"X-API-Key": key}) == 401, 5)
            connection.sendall(body)
            assert b"401 UNAUTHORIZED" in connection.recv(1000)


def test_commands_create_list_and_revoke_keys(app: Flask) -> None:
    def run(*arguments: str) -> Result:
        return app.test_cli_runner().invoke(args=["keys", *arguments])

    made = run("create", "chatbot", "--scope", "contacts:read", "--scope", "contacts:write")
    limited = run(
        *("create", "desk", "--scope", "contacts:read"),
        *("--account", ACCOUNT.upper(), "--expires", "2099-01-01T00:00:00Z"),
    )
    assert (made.exit_code, limited.exit_code) == (0, 0), made.stderr + limited.stderr
    secrets = [made.stdout.strip(), limited.stdout.strip()]
    prefixes = [secret.split("_")[1] for secret in secrets]
    listed = run("list").stdout
    assert listed == (
        f"{prefixes[0]}  active  contacts:read,contacts:write  all accounts  chatbot\n"
        f"{prefixes[1]}  expires 2099-01-01T00:00:00Z  contacts:read  {ACCOUNT}  desk\n"
    )
    assert not any(secret.split("_", 2)[2] in listed for secret in secrets)
    assert run("revoke", prefixes[0]).stdout == f"revoked {prefixes[0]}\n"
    assert "  revoked 2" in run("list").stdout.splitlines()[0]
    unknown = run("revoke", "nothing")
    assert unknown.exit_code == 1
    assert unknown.stderr.endswith("\nError: No key has the prefix nothing.\n")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["--scope", "contacts:everything"],
        ["--scope", "contacts:read", "--account", "mine"],
        ["--scope", "contacts:read", "--expires", "tomorrow"],
        ["--scope", "contacts:read", "--expires", "2020-01-01T00:00:00Z"],
    ],
)
def test_invalid_command_creates_no_key(app: Flask, wrong: list[str]) -> None:
    done = app.test_cli_runner().invoke(args=["keys", "create", "name", *wrong])
    assert done.exit_code == 2
    assert done.output.startswith("Usage:")
    assert list_keys() == []


@pytest.mark.processes
def test_every_worker_learns_of_new_and_revoked_keys_within_five_seconds(
    kind: str, databases: Databases, tmp_path: object
) -> None:
    url = databases.create(kind)
    with serve(url, tmp_path, WEB_CONCURRENCY="3") as service:
        assert {status_of(f"{service.url}/api/contacts", {}) for _ in range(20)} == {200}
        assert "no API key exists" in service.log.read_text()
        key = run_flask(url, "keys", "create", "name", *(f"--scope={scope}" for scope in SCOPES)).stdout.strip()
        assert becomes_true(lambda: {status_of(f"{service.url}/api/contacts", {}) for _ in range(20)} == {401}, 5)
        assert {status_of(f"{service.url}/api/contacts", {"X-API-Key": key}) for _ in range(20)} == {200}
        run_flask(url, "keys", "revoke", key.split("_")[1])
        assert becomes_true(
            lambda: {status_of(f"{service.url}/api/contacts", {"X-API-Key": key}) for _ in range(20)} == {401}, 5
        )
