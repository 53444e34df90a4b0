"""A connection to PostgreSQL: what it loads, and how long it waits."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.string import TextLoader

GRACE_SECONDS = 1.0
"""How long a server has to report its own timeout before it counts as dead."""


class _Adapters(psycopg.adapt.AdaptersMap):
    """Loads ids and JSON as text, as SQLite does."""

    def __init__(self) -> None:
        super().__init__(psycopg.adapters)
        self.register_loader("uuid", TextLoader)
        self.register_loader("json", TextLoader)


class TimestamptzInUtcLoader(TimestamptzLoader):
    """Converts to UTC, whatever time zone the connection has."""

    def load(self, data: Any) -> datetime:
        return super().load(data).astimezone(UTC)


class Connection(psycopg.Connection[Any]):
    """A connection that is closed when the server stays silent for too long."""

    patience: float | None = None
    """Seconds to wait for an answer; None for no limit."""
    is_committing = False
    heeds_options = True
    """Whether the server has the settings that were given on connecting."""

    _kept: psycopg.Cursor[Any] | None = None

    def execute(self, *arguments: Any, **options: Any) -> psycopg.Cursor[Any]:
        """Run a statement; its rows have to be fetched before the next one.

        All share a cursor: with one of its own a row by its key takes 18 µs of CPU, without 12.
        """
        if self._kept is None:
            self._kept = self.cursor()
        return self._kept.execute(*arguments, **options)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                # No one will read the result, so the server needn't go on. Except for a COMMIT that waits for a
                # standby: cancelled, it would commit without the standby.
                if not self.is_committing:
                    with contextlib.suppress(psycopg.Error):
                        self.cancel_safe(timeout=GRACE_SECONDS)
                self.close()
            raise


ADAPTERS = _Adapters()
