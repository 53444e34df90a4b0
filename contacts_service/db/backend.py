"""What the two databases have in common, and the defaults that only one of them overrides."""

import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

from peewee import SQL, BigAutoField, BigIntegerField, IntegerField, TextField

from contacts_service.db.fields import IdField, JSONText, JSONTextField, OrderedTextField

_UNCONVERTED = (BigAutoField, BigIntegerField, IdField, IntegerField, OrderedTextField, TextField)


class _UseCase(threading.local):
    """The use case that this thread is in."""

    began = math.inf  # As perf_counter() tells.


class Backend:
    """Mixed into a Peewee database. The defaults suit the database that needs nothing for the purpose."""

    kind: str
    execute_sql: Any
    bulkhead: Any
    replanned: ClassVar[dict[str, Any]] = {}
    """What has the driver ask for a plan made for the very values of a query."""
    conversions: ClassVar[dict[type, Any]] = {**dict.fromkeys(_UNCONVERTED), JSONTextField: JSONText}
    """How prepared queries convert what the driver returns, None for not at all; by default by the field."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.is_migrated = False
        """Whether this process has seen today's tables."""
        self.use_case = _UseCase()
        super().__init__(*arguments, **options)
        # Peewee opens the connections of all threads one after the other; a slow one would hold up the others.
        self._lock = nullcontext()

    def restart_timeout(self) -> None:
        """Give the use case its whole time again, as for each part of a change of many rows."""
        self.use_case.began = time.perf_counter()

    @contextmanager
    def migrating(self) -> Iterator[None]:
        """Prepare the connection for migrations."""
        yield

    def lock_migrations(self) -> None:
        """Wait for other processes that migrate, until the end of the transaction."""

    def check_migrated(self) -> None:
        """Raise IntegrityError if a migration left rows without the rows they refer to."""

    def writer_turn(self) -> AbstractContextManager[None]:
        """Let the writers of this process into the database one after the other. Raises Unavailable."""
        return nullcontext()

    def is_conflict(self, fault: BaseException) -> bool:  # noqa: ARG002
        """Whether another transaction is in the way, so that the next attempt may succeed."""
        return False

    def alone(self) -> AbstractContextManager[Any]:
        """Run a statement that commits by itself, outside of a transaction."""
        return nullcontext()

    def erase_after_commit(self) -> None:
        """Overwrite what this transaction deletes also where the database keeps old versions of it."""

    def lock_out_writers(self, table: str) -> None:
        """Wait until no other transaction has written to a table, and keep others from it until this one ends."""

    def lock_key(self, *keys: str) -> None:
        """Wait until no other transaction holds these keys, in this order, and hold them until this one ends."""

    def next_keys(self, table: str, count: int) -> range | list[int]:
        """Reserve primary keys of a table for rows that this transaction inserts, in order."""
        raise NotImplementedError

    def copy_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows, whose values are as the database wants them, in memory that doesn't grow with them."""
        raise NotImplementedError

    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert the rows of a batch, whose values are as the database wants them."""
        self.copy_rows(table, columns, rows)

    def keys_of(self, array: Any) -> tuple[Any, ...]:
        """End of a condition: what stands before it is among the numbers of a JSON array."""
        return SQL("IN (SELECT value FROM json_each("), array, SQL("))")

    def try_lock_key(self, key: str) -> bool:  # noqa: ARG002
        """Hold this key until the transaction ends, or return False if another transaction holds it."""
        return True

    def locked(self, query: Any, *, skip_locked: bool = False) -> Any:  # noqa: ARG002
        """Lock the rows that a query reads until the transaction ends; wait for locked rows or skip them."""
        return query

    def unlocked(self, query: Any) -> Any:
        """A common table expression of the rows that no other transaction holds; they are locked.

        Materialized, or PostgreSQL might run it again for each row, and skip what it has locked itself.
        """
        return self.locked(query, skip_locked=True).cte("unlocked", materialized=True)
