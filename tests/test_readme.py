"""The documents are correct: their examples are run, and their output is compared with what they show."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from helpers.caller import UUID, Caller
from helpers.databases import Databases
from helpers.service import ROOT, Service, call, free_port, run_flask, wait_for_response

from contacts_service.errors import documented_errors
from contacts_service.settings import Settings
from contacts_service.web.auth import SCOPES

REFERENCE = (ROOT / "docs/reference.md").read_text()
EXAMPLE = re.compile(r"```sh\n(.*?)```(?:\n\n```(?:json|text)\n(.*?)```)?", re.DOTALL)
CHANGING = re.compile(f"{UUID}|[0-9-]{{10}}T[0-9:.]{{8,15}}Z")
# Transactions of tests beside this one would hold up the change feed.
WAITING_CURL = """curl() {
    case "$*" in */changes*) "$PYTHON" -c 'import os; from helpers.databases import wait_for_open_transactions as wait
wait(os.environ["DATABASE_URL"])' ;; esac
    command curl "$@"
}
"""
EMPTY_DATABASE = "postgresql://contacts:secret@127.0.0.1:5432/contacts"
STARTS_THE_SERVICE = re.compile("make run|docker")


def comparable(output: str) -> str:
    """Leave out what differs from run to run, and how the output is folded."""
    return re.sub(r"\s", "", CHANGING.sub("…", output))


@pytest.mark.skipif(shutil.which("jq") is None, reason="the pages say that their examples need jq")
@pytest.mark.parametrize(("page", "examples"), [("README.md", 6), ("docs/reference.md", 10), ("docs/recipes.md", 8)])
def test_page_pasted_into_a_shell_prints_what_it_shows(
    own_service: Service, databases: Databases, page: str, examples: int
) -> None:
    shown = [found for found in EXAMPLE.findall((ROOT / page).read_text()) if not STARTS_THE_SERVICE.search(found[0])]
    assert len(shown) >= examples
    pasted = "echo '#'\n".join(commands for commands, _ in shown)
    pasted = pasted.replace("http://127.0.0.1:8000", own_service.url)
    pasted = pasted.replace(EMPTY_DATABASE, shlex.quote(databases.create("postgresql")))
    pasted = pasted.replace(".venv/bin/flask", f"{shlex.quote(sys.executable)} -m flask")
    done = subprocess.run(
        ["bash", "-e"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": own_service.database_url,
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT / "tests"),
        },
        input=WAITING_CURL + pasted,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("#\n")
    for (commands, expected), output in zip(shown, printed, strict=True):
        assert comparable(output) == comparable(expected), f"{commands}\n{output}"


def test_first_contact_is_on_the_first_screen() -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:40]
    for wanted in ("make run", "make test", "| jq -r .data.id)"):
        assert any(wanted in line for line in first_screen), wanted


def test_every_operation_is_in_the_reference(app: Flask) -> None:
    rows = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", REFERENCE, re.MULTILINE)
    paths = Caller(app).openapi["paths"]
    documented = [f"{name.upper()} {path}" for path in paths for name in paths[path] if name != "parameters"]
    assert sorted(rows) == sorted(documented)


def test_tour_runs_to_its_end_before_there_is_a_key_and_with_one(own_service: Service) -> None:
    options = [f"--scope={scope}" for scope in SCOPES]
    for arguments in ([], ["keys", "create", "tour", *options]):
        environment = dict(os.environ)
        if arguments:
            environment["CONTACTS_KEY"] = run_flask(own_service.database_url, *arguments).stdout.strip()
        done = subprocess.run(
            ["sh", "examples/tour.sh", own_service.url],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("The tour is complete.\n")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_tour_leaves_nothing_behind_when_it_is_interrupted(service: Service, tmp_path: Path) -> None:
    curl = tmp_path / "curl"  # Waits at the first PATCH, so that the tour is still on its way when it is interrupted.
    wait = f"touch {tmp_path}/waits; exec sleep 60"
    curl.write_text(f'#!/bin/sh\ncase "$*" in *"-X PATCH"*) {wait} ;; esac\nexec {shutil.which("curl")} "$@"\n')
    curl.chmod(0o755)
    tour = subprocess.Popen(
        ["sh", "examples/tour.sh", service.url],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "waits").exists():
        assert tour.poll() is None
        time.sleep(0.01)
    assert call(service, "GET", "/api/contacts")[1]["data"]["total"] == 1
    os.killpg(tour.pid, signal.SIGTERM)  # A worker of pytest-xdist ignores SIGINT, and so do its children.
    tour.communicate(timeout=60)
    for path in ("/api/contacts", "/api/flows"):
        assert call(service, "GET", path)[1]["data"]["items"] == [], path
    assert tour.returncode == 130


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_make_run_uses_the_settings_of_the_environment(kind: str, databases: Databases, tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=ROOT,
            env={**os.environ, "PORT": str(port), "DATABASE_URL": databases.create(kind)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for_response(f"http://127.0.0.1:{port}/readyz", process, tmp_path / "log")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=40)


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    table = re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\|", page, re.MULTILINE)
    read: list[str] = []

    class Recorder(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            read.append(name)
            return default

    defaults = Settings.from_environment(Recorder())
    assert sorted(name for name, _ in table) == sorted(read)
    assert Settings.from_environment(dict(table)) == defaults


def test_every_error_code_is_documented() -> None:
    rows = re.findall(r"^\| ([0-9]{3}) \| ([^|]*) \|", REFERENCE, re.MULTILINE)
    documented = {(int(status), code) for status, codes in rows for code in re.findall("`([a-z_]+)`", codes)}
    assert documented == {(error.status, error.code) for error in documented_errors()}


@pytest.mark.processes
def test_every_make_target_has_a_description() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in phony[1].split():
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target


def test_links_between_documents_are_valid() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not urlsplit(link).scheme:
                assert (page.parent / link).exists(), (page.name, link)
