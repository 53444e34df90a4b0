"""The service and its commands, in processes of their own, and requests to it over HTTP."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Service:
    """The service as `make run` starts it."""

    url: str
    database_url: str
    process: subprocess.Popen[bytes]
    log: Path
    earlier_log: int = 0
    """Bytes of the log that a test before this one left."""

    @property
    def logged(self) -> str:
        """What it has logged since the test began."""
        return self.log.read_bytes()[self.earlier_log :].decode()

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port


def start_flask(database_url: str, *arguments: str) -> subprocess.Popen[str]:
    """Start ``flask --app wsgi …`` on a database as an operator does."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_flask(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``flask --app wsgi …`` on a database to its end."""
    process = start_flask(database_url, *arguments)
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_service(database_url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start gunicorn where it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "PORT": str(free_port()), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_response(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a starting service responds with success."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:  # Refused, reset, or no response while the first worker starts.
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def serve(database_url: str, folder: Path, **environment: str) -> Iterator[Service]:
    """Run gunicorn with the project's configuration until the block ends."""
    port, log = free_port(), folder / "gunicorn.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "wsgi:app"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url, "PORT": str(port), **environment},
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for_response(f"{url}/healthz", process, log)
        yield Service(url, database_url, process, log)
    finally:
        process.terminate()
        process.wait(timeout=120)  # A worker that is just starting misses the signal, and is killed after 30 seconds.


def call(
    service: Service, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Send a request over a connection of its own; return the status and the JSON body."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    headers = {**({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    result = response.status, json.loads(response.read())
    connection.close()
    return result


def status_of(url: str, headers: dict[str, str] | None = None) -> int:
    """Send a GET request and return its status, whatever the body is."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
