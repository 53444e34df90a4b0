"""What one page of a list holds."""

from typing import Any, NotRequired, TypedDict


class Page(TypedDict):
    items: list[dict[str, Any]]
    total: int
    page: int | None
    limit: int
    total_pages: int
    next_cursor: NotRequired[str | None]


def page_of(items: list[dict[str, Any]], *, total: int, page: int | None, limit: int) -> Page:
    return Page(items=items, total=total, page=page, limit=limit, total_pages=-(-total // limit))
