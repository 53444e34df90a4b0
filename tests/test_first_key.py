"""The first key from the environment, and access while no key exists."""

from pathlib import Path

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.concurrency import run_concurrently
from helpers.databases import Databases
from helpers.keys import make_key
from helpers.service import call, serve

from contacts_service.app import create_app, prepare
from contacts_service.errors import Unavailable
from contacts_service.keys.keyring import create_first_key, create_key, list_keys, revoke_key
from contacts_service.settings import InvalidSetting, Settings

KEY = "0123456789abcdef" * 2
BODY = {"phone_number": "+1234567890"}


@pytest.fixture
def url(kind: str, databases: Databases, app: Flask) -> str:
    assert app, "the fixture restores the connection"
    return databases.create(kind)


def start(url: str, **settings: object) -> Flask:
    application = create_app(Settings(database_url=url, **settings))
    prepare(application)
    return application


def test_first_key_has_all_scopes_and_ends_access_without_key(url: str) -> None:
    application = start(url, first_key=KEY)
    caller = Caller(application, KEY)
    contact = caller.create()["id"]
    assert caller.get(f"/api/contacts/{contact}").status == 200
    assert caller.delete(f"/api/contacts/{contact}").status == 200
    assert Caller(application).get("/api/contacts").status == 401
    assert Caller(application, KEY[:-1] + "0").get("/api/contacts").status == 401
    assert Caller(application, f"contacts_first_{KEY[:-1]}0").get("/api/contacts").status == 401


@pytest.mark.parametrize("is_revoked", [False, True])
def test_first_key_is_not_taken_while_keys_exist(
    url: str, caplog: pytest.LogCaptureFixture, *, is_revoked: bool
) -> None:
    start(url)
    made = create_key("desk", scopes=["contacts:read"])
    if is_revoked:
        revoke_key(made.split("_")[1])
    application = start(url, first_key=KEY)
    assert Caller(application, KEY).get("/api/contacts").status == 401
    assert [key["name"] for key in list_keys()] == ["desk"]
    assert "CONTACTS_FIRST_KEY is not valid: keys exist already" in caplog.text


def test_revoked_first_key_stays_revoked_after_a_restart(url: str) -> None:
    start(url, first_key=KEY)
    revoke_key("first")
    assert Caller(start(url, first_key=KEY), KEY).get("/api/contacts").status == 401


def test_first_key_is_taken_once_the_database_lets_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable

    monkeypatch.setattr("contacts_service.app.create_first_key", fail)
    application = start(url, first_key=KEY)
    assert Caller(application, KEY).get("/api/contacts").status == 503
    monkeypatch.setattr("contacts_service.app.create_first_key", create_first_key)
    assert Caller(application, KEY).get("/api/contacts").status == 200


def test_processes_that_start_at_once_take_one_first_key(url: str) -> None:
    start(url)
    run_concurrently(lambda number: create_first_key(f"contacts_{number:012}_{KEY}", scopes=["contacts:read"]), 8)
    assert len(list_keys()) == 1


@pytest.mark.processes
def test_first_key_is_read_from_a_file_and_appears_in_no_log(kind: str, databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{KEY}\n")
    file = str(tmp_path / "secret")
    with serve(databases.create(kind), tmp_path, CONTACTS_FIRST_KEY_FILE=file, CONTACTS_REQUIRE_KEY="1") as service:
        assert call(service, "POST", "/api/contacts", BODY, {"X-API-Key": KEY})[0] == 201
        assert call(service, "GET", "/api/contacts")[0] == 401
        assert KEY not in service.log.read_text()
        assert "no API key exists" not in service.log.read_text()


@pytest.mark.parametrize(
    "weak", ["short", "x" * 64, "0123456789abcdef " * 3, "changemechangemechangemechangeme", "é" * 40, "1" * 256]
)
def test_weak_first_key_is_refused_in_one_sentence_that_does_not_show_it(weak: str) -> None:
    with pytest.raises(InvalidSetting, match="CONTACTS_FIRST_KEY must be random: 32 to 255 visible") as refused:
        Settings.from_environment({"CONTACTS_FIRST_KEY": weak})
    assert weak not in str(refused.value)
    assert KEY not in repr(Settings(first_key=KEY))


def test_file_of_the_first_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"CONTACTS_FIRST_KEY_FILE: .*/missing can't be read"):
        Settings.from_environment({"CONTACTS_FIRST_KEY_FILE": f"{tmp_path}/missing"})


def test_required_key_is_required_of_local_callers_and_the_answer_says_how_to_make_one(url: str) -> None:
    caller = Caller(start(url, require_key=True))
    response = caller.get("/api/contacts")
    assert (response.status, response.code) == (401, "unauthenticated")
    assert "flask --app wsgi keys create NAME --scope contacts:read" in response.body["message"]
    assert "CONTACTS_FIRST_KEY" in response.body["message"]
    assert caller.get("/readyz").status == 200


def test_refusals_say_what_to_do_next(app: Flask) -> None:
    remote = Caller(app).request("GET", "/api/contacts", environ_overrides={"REMOTE_ADDR": "10.0.0.5"})
    assert (remote.status, remote.code) == (403, "local_only")
    assert "flask --app wsgi keys create NAME --scope contacts:read" in remote.body["message"]
    assert "CONTACTS_FIRST_KEY" in remote.body["message"]
    reader = Caller(app, make_key(app, scopes=["contacts:read"]))
    refused = reader.post("/api/contacts", BODY)
    assert (refused.status, refused.code) == (403, "scope_missing")
    assert "flask --app wsgi keys create NAME --scope contacts:write" in refused.body["message"]


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-origin", 200), ("none", 200)])
def test_page_of_another_site_is_refused_while_no_key_exists(app: Flask, site: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": site}
    assert Caller(app).request("GET", "/api/contacts", headers=headers).status == status
    key = make_key(app, scopes=["contacts:read"])
    assert Caller(app, key).request("GET", "/api/contacts", headers=headers).status == 200
