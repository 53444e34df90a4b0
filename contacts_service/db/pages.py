"""Pages of large documents: they end by their bytes too, and no more is read than they hold."""

from itertools import accumulate
from typing import Any

from peewee import Select, fn

from contacts_service.db.database import database
from contacts_service.db.prepared import Row

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends with the document that reaches it, so it holds at least one and is at most one document larger."""


def newest_within_bytes(query: Any, document: Any, limit: Any) -> Any:
    """Choose the newest rows of a query, by their creation and at most ``limit``, whose documents fit into a page.

    Returns a subquery with their ``pk``, and ``found``: how many there would be if bytes didn't count.
    """
    model = document.model
    order = (model.created_at.desc(), model.pk.desc())
    size = database.byte_length(document).alias("size")
    newest = query.select(model.pk, model.created_at, size).order_by(*order).limit(limit).alias("newest")
    before = fn.SUM(newest.c.size).over(order_by=[newest.c.created_at.desc(), newest.c.pk.desc()]) - newest.c.size
    found = fn.COUNT(newest.c.pk).over()
    counted = Select([newest], [newest.c.pk, before.alias("before"), found.alias("found")]).alias("counted")
    return Select([counted], [counted.c.pk, counted.c.found]).where(counted.c.before < PAGE_BYTES).alias("page")


def first_within_bytes(rows: list[Row], limit: int, *documents: str) -> list[Row]:
    """Cut rows that were read to a page of at most ``limit``, by the bytes of these documents."""
    sizes = [sum(len(row[name].encode()) for name in documents if row[name]) for row in rows]
    return [row for row, before in zip(rows, accumulate(sizes, initial=0), strict=False) if before < PAGE_BYTES][:limit]
