"""A connection to PostgreSQL: what it loads, and how long it waits."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.string import TextLoader

# Seconds that a server has to report its own timeout before it counts as dead.
GRACE = 1.0


class _Known(psycopg.adapt.AdaptersMap):
    """Loads ids and JSON as the text that they are, as SQLite does."""

    def __init__(self) -> None:
        super().__init__(psycopg.adapters)
        self.register_loader("uuid", TextLoader)
        self.register_loader("json", TextLoader)


class InUtc(TimestamptzLoader):
    """Loads times as those of UTC, whatever zone a connection has."""

    def load(self, data: Any) -> datetime:
        return super().load(data).astimezone(UTC)


class Connection(psycopg.Connection[Any]):
    """A connection that hangs up when the server is silent for too long, frozen or cut off as it may be."""

    patience: float | None = None
    """Seconds to wait for an answer; None for no limit."""
    is_committing = False

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                # Nobody will read the answer, so the server needn't go on. A COMMIT it must: when it waits for a
                # standby, cancelling would have it commit without.
                if not self.is_committing:
                    with contextlib.suppress(psycopg.Error):
                        self.cancel_safe(timeout=GRACE)
                self.close()
            raise


ADAPTERS = _Known()
