"""Commands: which database they work on, and names of any kind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from helpers.databases import Databases
from helpers.service import ROOT

from contacts_service.app import create_app
from contacts_service.keys.use_cases import create_key
from contacts_service.settings import Settings

NEW_FILE = "Warning: this file is new."
NAMES = {
    "line\nbreak": r"line\nbreak",
    "\x1b[2Jcleared": r"\x1b[2Jcleared",
    "turned \u202e round": r"turned \u202e round",
    "王芳 ｗｉｄｅ": "王芳 ｗｉｄｅ",
    "מפתח": "מפתח",
    "long " * 100: f"{'long ' * 16}...",
}


def test_command_names_its_database_and_warns_of_a_new_file(app: Flask, tmp_path: Path) -> None:
    """Beside a service on PostgreSQL it would make keys that the service doesn't know."""
    assert app, "the fixture restores the connection"
    file = tmp_path / "contacts.db"
    runner = create_app(Settings(database_url=f"sqlite:///{file}")).test_cli_runner()
    made = runner.invoke(args=["keys", "create", "desk", "--scope", "contacts:read"])
    assert made.stdout.startswith("contacts_"), "the key alone, for scripts"
    assert made.stderr.startswith(f"Database: SQLite {file}\n{NEW_FILE}")
    assert runner.invoke(args=["keys", "list"]).stderr == f"Database: SQLite {file}\n"


def test_command_names_its_server_but_not_the_password(app: Flask) -> None:
    assert app
    url = "postgresql://contacts:secret@127.0.0.1:1/contacts?password=secret"
    failed = create_app(Settings(database_url=url)).test_cli_runner().invoke(args=["keys", "list"])
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Database: PostgreSQL host=127.0.0.1 port=1 dbname=contacts user=contacts\nError: ")
    assert "Connection refused" in failed.stderr
    assert "secret" not in failed.output
    assert "Traceback" not in failed.output


def test_list_of_keys_shows_any_name_on_one_line(app: Flask) -> None:
    for name in NAMES:
        create_key(name, scopes=["contacts:read"])
    listed = app.test_cli_runner().invoke(args=["keys", "list"]).stdout.splitlines()
    assert [line.partition("all accounts  ")[2] for line in listed] == list(NAMES.values())


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_list_of_keys_survives_a_terminal_that_lacks_letters(app: Flask, kind: str, databases: Databases) -> None:
    url = databases.create(kind)
    runner = create_app(Settings(database_url=url)).test_cli_runner()
    assert runner.invoke(args=["keys", "create", "王芳 é", "--scope", "contacts:read"]).exit_code == 0
    listed = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "keys", "list"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        encoding="latin-1",
        check=True,
    )
    assert listed.stdout.endswith(r"all accounts  \u738b\u82b3 " + "é\n")
    assert app


@pytest.mark.processes
@pytest.mark.parametrize("variable", ["PORT", "DATABASE_URL"])
def test_command_tells_a_wrong_setting_in_one_sentence(variable: str) -> None:
    failed = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "keys", "list"],
        cwd=ROOT,
        env={**os.environ, variable: "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode != 0
    assert failed.stderr.startswith(f"contacts-service: {variable} ")
    assert failed.stderr.count("\n") == 1
