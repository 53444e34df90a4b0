"""The README is correct: its commands are run, and their output is compared with what it shows."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from helpers.caller import UUID
from helpers.databases import Databases
from helpers.service import ROOT, Service, free_port, run_flask, wait_for_response

from contacts_service.errors import documented_errors
from contacts_service.settings import Settings
from contacts_service.web.auth import SCOPES

README = (ROOT / "README.md").read_text()
CHANGING = re.compile(f"{UUID}|[0-9-]{{10}}T[0-9:.]{{8,15}}Z")


def examples() -> Iterator[tuple[str, str]]:
    """Yield each command of the README's console blocks with the output below it."""
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines, command = example.splitlines(), ""
            while command.endswith("\\\n") or open_quote(command) or not command:
                command += lines.pop(0) + "\n"
            yield command.strip(), "\n".join(lines)


def open_quote(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return True
    return False


def matches(shown: Any, real: Any, ids: dict[str, str]) -> bool:
    """Compare JSON; each generated id or time in the README stands for one of this run."""
    if isinstance(shown, dict):
        return (
            isinstance(real, dict)
            and list(shown) == list(real)
            and all(matches(value, real[name], ids) for name, value in shown.items())
        )
    if isinstance(shown, list):
        return len(shown) == len(real) and all(matches(a, b, ids) for a, b in zip(shown, real, strict=True))
    if isinstance(shown, str) and CHANGING.fullmatch(shown):
        return bool(CHANGING.fullmatch(real)) and ids.setdefault(shown, real) == real
    return bool(shown == real)


def test_commands_of_the_readme_print_what_it_shows(service: Service) -> None:
    ids: dict[str, str] = {}
    ran = 0
    for command, shown in examples():
        if not command.startswith(("curl", ".venv/bin/flask")):
            continue
        ran += 1
        runnable = command.replace("http://127.0.0.1:8000", service.url)
        runnable = runnable.replace(".venv/bin/flask", f"{shlex.quote(sys.executable)} -m flask")
        for example, real in ids.items():
            runnable = runnable.replace(example, real)
        done = subprocess.run(
            ["sh", "-c", runnable],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": service.database_url},
            capture_output=True,
            text=True,
            check=True,
        )
        if shown.startswith("{"):
            assert matches(json.loads(shown), json.loads(done.stdout), ids), f"{command}\n{done.stdout}"
        else:
            assert done.stdout.strip() == shown.strip(), command
    assert ran == 27


@pytest.mark.parametrize("scopes", [(), SCOPES], ids=["before there is a key", "with a key"])
def test_tour_runs_to_its_end(service: Service, scopes: tuple[str, ...]) -> None:
    environment = dict(os.environ)
    if scopes:
        options = [f"--scope={scope}" for scope in scopes]
        environment["CONTACTS_KEY"] = run_flask(service.database_url, "keys", "create", "tour", *options).stdout.strip()
    done = subprocess.run(
        ["sh", "examples/tour.sh", service.url], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("The tour is complete.\n")


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
    table = re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\|", README, re.MULTILINE)
    read: list[str] = []

    class Recorder(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            read.append(name)
            return default

    defaults = Settings.from_environment(Recorder())
    assert sorted(name for name, _ in table) == sorted(read)
    assert Settings.from_environment(dict(table)) == defaults


def test_every_error_code_is_documented() -> None:
    rows = re.findall(r"^\| ([0-9]{3}) \| ([^|]*) \|", README, re.MULTILINE)
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
