"""Use cases of importing and exporting many contacts.

An import commits batches of rows, each in a transaction of its own, so that other writers get their turn.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import cache
from itertools import count
from typing import Any

from contacts_service.contacts.filters import make_filters
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import close_connection, database, reading, retried, writing
from contacts_service.transfer.batch import Batch, Errors, Options, Row
from contacts_service.transfer.export_queries import Page, read_contacts
from contacts_service.transfer.scratch import Scratch

# Where others wait for a batch, it is smaller.
_BATCH_ROWS = {"sqlite": 500, "postgresql": 1000}
_BATCH_CHARACTERS = 2_000_000
OUTCOMES = ("created", "updated", "unchanged", "skipped", "failed")


def import_contacts(  # noqa: PLR0913 - The parameters of the operation.
    rows: Iterable[Row],
    reject: Callable[[Row, Errors], None],
    *,
    allowed_accounts: AllowedAccounts,
    account_id: str | None = None,
    on_match: str = "update",
    dry_run: bool = False,
) -> Counter[str]:
    """Import rows, and call ``reject`` with each that can't be. Returns how many there were, by what became of them.

    ``account_id`` is that of rows that name none. A dry run remembers in a file of its own what it would have written,
    and holds no lock. Raises Unavailable; what was committed before stays.
    """
    options = Options(allowed_accounts, account_id, on_match)
    scratch = Scratch() if dry_run else None
    counts = Counter(dict.fromkeys(("rows", *OUTCOMES), 0))
    size = _BATCH_ROWS[database.kind]
    with closing(_read_ahead(_batches(rows))) as batches:
        for batch, read_next in batches:
            left = batch
            while left:
                outcomes = _import_some(left[:size], options, scratch, read_next)
                size = 2 * len(outcomes)
                for row, (outcome, errors) in zip(left, outcomes, strict=False):
                    counts[outcome] += 1
                    if errors:
                        reject(row, errors)
                left = left[len(outcomes) :]
            counts["rows"] += len(batch)
    return counts


def _import_some(
    rows: list[Row], options: Options, scratch: Scratch | None, read_next: Callable[[], object]
) -> list[tuple[str, Errors]]:
    """Import the first rows, half as many each time that another transaction was in the way."""
    sizes = (max(1, len(rows) >> attempt) for attempt in count())

    @retried
    def attempt() -> list[tuple[str, Errors]]:
        with reading() if scratch else writing():
            return Batch(options, read_next, scratch).run(rows[: next(sizes)])

    return attempt()


def _read_ahead(batches: Iterator[list[Row]]) -> Generator[tuple[list[Row], Callable[[], object]]]:
    """Read batches, each with a function that begins to read the next one, for when the database works by itself."""
    context = copy_context()  # Reading a body looks at the request and its key.
    batch = next(batches, [])
    with ThreadPoolExecutor(1) as reader:
        try:
            while batch:
                following = cache(lambda: reader.submit(lambda: context.run(next, batches, [])))
                yield batch, following
                batch = following().result()
        finally:
            reader.submit(close_connection)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size, limit = 0, _BATCH_ROWS[database.kind]
    for row in rows:
        batch.append(row)
        size += sum(map(len, row.source))
        if len(batch) >= limit or size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def export_contacts(allowed_accounts: AllowedAccounts, **filters: Any) -> tuple[int, Iterator[Page]]:
    """Count the contacts that pass the filters, and read them page by page in the order in which they were created.

    A contact that exists throughout is read once. Between two pages no connection is held. Raises AccountForbidden,
    InvalidRequest.
    """
    with reading():
        return read_contacts(make_filters(allowed_accounts, **filters))
