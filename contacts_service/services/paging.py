"""What one page of a list holds."""

from typing import Any, TypedDict


class Page(TypedDict):
    items: list[dict[str, Any]]
    total: int
    page: int
    limit: int
    total_pages: int


def page_of(items: list[dict[str, Any]], *, total: int, page: int, limit: int) -> Page:
    return Page(items=items, total=total, page=page, limit=limit, total_pages=-(-total // limit))
