"""Commands: which database they work on, and names of any kind."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from helpers.databases import Databases
from helpers.examples import ACCOUNT
from helpers.service import ROOT

from contacts_service.app import create_app
from contacts_service.keys.keyring import create_key
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


def test_contacts_are_imported_and_exported_by_commands(app: Flask, tmp_path: Path) -> None:
    runner = app.test_cli_runner()
    file, rejected, exported = (tmp_path / name for name in ("in.csv", "rejected.csv", "out.ndjson"))
    file.write_text("phone_number,name\n+15550100,Ann\n1,Bob\n")
    dry = runner.invoke(args=["contacts", "import", str(file), "--dry-run"])
    assert dry.stdout == "2 rows, 1 created, 0 updated, 0 unchanged, 0 skipped, 1 failed\n"
    done = runner.invoke(args=["contacts", "import", str(file), "--rejected", str(rejected)])
    assert (done.stdout, done.exit_code) == (dry.stdout, 1)
    assert "row 2: phone_number: Not an international phone number" in dry.stderr
    assert done.stderr.endswith("Error: 1 of 2 rows was not imported.\n")
    assert rejected.read_text().startswith('phone_number,name,error\n1,Bob,"phone_number: ')
    rejected.write_text(rejected.read_text().replace("\n1,", "\n+15550101,"))
    mended = runner.invoke(args=["contacts", "import", str(rejected), "--on-match", "skip", "--account", ACCOUNT])
    assert mended.exit_code == 0, mended.output
    assert runner.invoke(args=["contacts", "export", str(exported)]).exit_code == 0
    assert [json.loads(line)["name"] for line in exported.read_text().splitlines()] == ["Ann", "Bob"]
    chosen = runner.invoke(
        args=["contacts", "export", "-", "--filter", f"account_id={ACCOUNT}", "--filter", "search=b"]
    )
    assert [line.split(",")[7] for line in chosen.stdout.splitlines()] == ["profile_name", ""]
    assert len(chosen.stdout.splitlines()) == 2
    again = runner.invoke(args=["contacts", "import", "-", "--format", "ndjson"], input=exported.read_bytes())
    assert again.stdout.startswith("2 rows, 0 created, 0 updated, 2 unchanged"), again.output


def test_file_that_is_imported_may_take_the_rejected_rows(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("phone_number,name\n+15550100,Ann\n1,Bob\n")
    file.chmod(0o640)
    for rejected in ("1 created", "0 created"):
        done = app.test_cli_runner().invoke(args=["contacts", "import", str(file), "--rejected", str(file)])
        assert rejected in done.stdout
        assert file.read_text().startswith("phone_number,name,error\n1,Bob,")
        assert file.read_text().count("error") == 1
    assert file.stat().st_mode & 0o777 == 0o640
    assert [*tmp_path.iterdir()] == [file]


def test_failed_command_leaves_the_file_that_was_there(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "all.csv"
    file.write_text("from yesterday")

    def fail(_: Any) -> Any:
        yield b"half of"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("contacts_service.contacts_cli.as_csv", fail)
    failed = app.test_cli_runner().invoke(args=["contacts", "export", str(file)])
    assert failed.exit_code == 1
    assert f"Error: {file}: No space left on device\n" in failed.stderr
    assert (file.read_text(), [*tmp_path.iterdir()]) == ("from yesterday", [file])


def test_export_writes_to_pipes_and_devices(app: Flask, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    done = app.test_cli_runner().invoke(args=["contacts", "export", str(pipe)])
    reader.join(10)
    assert done.exit_code == 0, done.output
    assert read[0].startswith("id,")
    assert pipe.is_fifo()


def test_commands_of_contacts_say_in_a_sentence_what_is_wrong(app: Flask, tmp_path: Path) -> None:
    runner = app.test_cli_runner()
    file, rows = tmp_path / "in.csv", tmp_path / "rows.csv"
    file.write_text("nmae\n")
    rows.write_text("phone_number\n1\n")
    for arguments, told in (
        (["import", str(file)], "nmae: Unknown column."),
        (["import", str(file), "--account", "x"], "account_id: Not a UUID"),
        (["export", "-", "--filter", "nmae=x"], "nmae: Unknown field."),
        (["export", "-", "--filter", "format=csv"], "format: Unknown field."),
        (["export", "-", "--filter", "tags=a", "--filter", "tags=b"], "tags: Given more than once."),
        (["export", str(tmp_path / "missing" / "out.csv")], f"{tmp_path}/missing/out.csv: No such file"),
        (["export", "/dev/full"], "/dev/full: No space left on device"),
        (["import", str(rows), "--rejected", "/dev/full"], "/dev/full: No space left on device"),
    ):
        failed = runner.invoke(args=["contacts", *arguments])
        assert failed.exit_code == 1
        assert f"Error: {told}" in failed.stderr
