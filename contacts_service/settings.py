"""The settings of the service, and the only place that reads the environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

MAX_BODY_BYTES = 1024 * 1024
"""The largest request body, and the largest JSON document that merging may make."""
_DIFFERENT = 8  # Characters: fewer are a placeholder and no random text.


class InvalidSetting(ValueError):
    """A setting in the environment that can't be what its owner meant."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one process of the service runs. docs/settings.md lists the environment variables."""

    database_url: str = "sqlite:///data/contacts.db"
    database_timeout: float = 5.0
    """Seconds that connecting, waiting for a lock, one PostgreSQL statement, or one transaction on SQLite may take."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 2
    threads: int = 4
    import_limit: int = 1024**3
    """Bytes that the body of an import may have."""
    log_format: str = "auto"
    """``json``, ``text``, or ``auto``: text on a terminal."""
    require_key: bool = False
    first_key: str | None = field(default=None, repr=False)
    """A key with all scopes, made when there is none."""

    def __post_init__(self) -> None:
        scheme = urlsplit(self.database_url).scheme
        if scheme not in {"sqlite", "postgresql", "postgres"}:
            raise InvalidSetting(f"DATABASE_URL must begin with sqlite:/// or postgresql://, not with {scheme!r}.")
        if scheme == "sqlite" and not self.sqlite_path:
            raise InvalidSetting("DATABASE_URL must name a file, such as sqlite:///data/contacts.db.")
        if scheme != "sqlite":
            try:
                conninfo_to_dict(self.database_url.replace("postgres://", "postgresql://", 1))
            except psycopg.Error:
                # What libpq says may hold a part of the password.
                raise InvalidSetting("DATABASE_URL is no connection URL of PostgreSQL's.") from None
        if not 0.1 <= self.database_timeout <= 600:  # noqa: PLR2004 - PostgreSQL would take 0 ms for no limit.
            raise InvalidSetting("CONTACTS_DATABASE_TIMEOUT must be from 0.1 to 600 seconds.")
        if min(self.workers, self.threads, self.import_limit) < 1:
            raise InvalidSetting("WEB_CONCURRENCY, CONTACTS_THREADS and CONTACTS_IMPORT_LIMIT must be at least 1.")
        if not 0 <= self.port <= 65535:  # noqa: PLR2004 - TCP has no more.
            raise InvalidSetting("PORT must be from 0 to 65535.")
        if self.log_format not in {"auto", "json", "text"}:
            raise InvalidSetting("CONTACTS_LOG_FORMAT must be auto, json or text.")
        if self.first_key is not None and not (
            re.fullmatch("[!-~]{32,255}", self.first_key) and len(set(self.first_key)) >= _DIFFERENT
        ):
            raise InvalidSetting(
                f"CONTACTS_FIRST_KEY must be random: 32 to 255 visible ASCII characters, {_DIFFERENT} different ones "
                "at least, such as `openssl rand -hex 32` prints."
            )

    @property
    def sqlite_path(self) -> str | None:
        """The file of ``sqlite:///relative`` or ``sqlite:////absolute``; None for PostgreSQL."""
        path = self.database_url.removeprefix("sqlite:///")
        return None if path == self.database_url or path in {"", ":memory:"} else path

    @property
    def database_name(self) -> str:
        """What people are told of the database: the file, or where the server is; never the password."""
        if self.sqlite_path:
            return f"SQLite {Path(self.sqlite_path).absolute()}"
        given = conninfo_to_dict(self.database_url.replace("postgres://", "postgresql://", 1))
        return " ".join(["PostgreSQL", *(f"{n}={given[n]}" for n in ("host", "port", "dbname", "user") if n in given)])

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings that are given; an empty variable counts as not given.

        Raises InvalidSetting and names the variable.
        """
        given: dict[str, Any] = {}
        for name, variable, convert in (
            ("database_url", "DATABASE_URL", str),
            ("database_timeout", "CONTACTS_DATABASE_TIMEOUT", float),
            ("host", "CONTACTS_HOST", str),
            ("port", "PORT", int),
            ("workers", "WEB_CONCURRENCY", int),
            ("threads", "CONTACTS_THREADS", int),
            ("import_limit", "CONTACTS_IMPORT_LIMIT", int),
            ("log_format", "CONTACTS_LOG_FORMAT", str),
            ("require_key", "CONTACTS_REQUIRE_KEY", _boolean),
            ("first_key", "CONTACTS_FIRST_KEY", str),
            ("first_key", "CONTACTS_FIRST_KEY_FILE", lambda path: Path(path).read_text().strip()),
        ):
            if value := environment.get(variable):
                try:
                    given[name] = convert(value)
                except ValueError as error:
                    raise InvalidSetting(f"{variable} can't be {value!r}.") from error
                except OSError as error:
                    raise InvalidSetting(f"{variable}: {value} can't be read ({error.strerror}).") from error
        return cls(**given)


def _boolean(value: str) -> bool:
    try:
        return {"1": True, "true": True, "0": False, "false": False}[value.lower()]
    except KeyError as error:
        raise ValueError(value) from error
