"""Erases what deleted contacts would leave behind in the files of the database. See docs/decisions/erasure.md."""

from collections.abc import Iterator

from contacts_service.db.database import database, reading, writing

_PAGES = 32  # Of the search index; rewriting them takes about 20 ms.
_OPTIMIZE = "INSERT INTO contact_search (contact_search) VALUES ('optimize')"
_MERGE = "INSERT INTO contact_search (contact_search, rank) VALUES ('merge', ?)"


def erase_after_delete() -> None:
    """Erase what the present transaction deletes; of SQLite's search index only if it is small."""
    database.erase_after_commit()
    if database.kind == "sqlite" and _count_pages(_PAGES + 1) <= _PAGES:
        database.execute_sql(_OPTIMIZE)


def rewrite_search_index() -> Iterator[float]:
    """Take what no contact has any more out of SQLite's search index, and yield the share that is done.

    FTS5 marks grams as deleted; they go when its segments are merged. Each step is a transaction of its own.
    """
    if database.kind != "sqlite":
        return
    with reading():
        steps = 2 * _count_pages(10**9) // _PAGES + 2  # Other writers add to the work.
    for step in range(steps):
        with writing():
            before = _count_changes()
            # A negative number begins to merge all segments, others go on with it (sqlite.org/fts5.html, "merge").
            database.execute_sql(_MERGE, (_PAGES if step else -_PAGES,))
            is_done = _count_changes() - before < 2  # noqa: PLR2004 - SQLite's own rule.
            database.erase_after_commit()
        yield 1 if is_done else step / steps
        if is_done:
            return


def _count_pages(limit: int) -> int:
    pages = "SELECT COUNT(*) FROM (SELECT 1 FROM contact_search_data LIMIT ?)"
    return int(database.execute_sql(pages, (limit,)).fetchone()[0])


def _count_changes() -> int:
    return int(database.execute_sql("SELECT total_changes()").fetchone()[0])
