"""The floor: bare Flask routes with hand-written SQL on the service's own tables, with the same responses.

The floor validates nothing, handles no errors and checks no key. What remains is the time that Flask, the driver, the
database and orjson need for the same response or effect. Its cursors have a format of their own.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from functools import partial
from types import ModuleType
from typing import Any

import orjson
from flask import Flask, Response, request

from benchmarks import floor_postgresql, floor_sqlite, floor_writes
from benchmarks.dataset import ACCOUNTS
from benchmarks.floor_rows import ALL_COLUMNS, SUMMARY_COLUMNS, sort_key, success, to_contact, to_session, to_summary
from contacts_service.contacts.metadata_terms import term_of
from contacts_service.contacts.tables import NO_ACCOUNT

_PAGE_SIZE = 20
_LIMIT = _PAGE_SIZE + 1  # One more row tells whether there is a next page.
_SESSION_DATA = """
SELECT s.id, s.flow_id, COALESCE(own.name, shared.name), s.status, s.session_data, s.created_at, s.updated_at,
    COALESCE(own.panel_config, shared.panel_config)
FROM contact AS c LEFT JOIN session AS s ON s.pk = (
    SELECT pk FROM session WHERE contact_id = c.pk AND status IN ('active', 'completed')
    ORDER BY created_at DESC, pk DESC LIMIT 1
) LEFT JOIN flow AS own ON own.id = s.flow_id AND own.account_id = c.account_id
LEFT JOIN flow AS shared ON shared.id = s.flow_id AND shared.account_id IS NULL WHERE c.id = ?
"""
_CHANGES = f"""
SELECT {ALL_COLUMNS}, change_seq, pk FROM contact WHERE (change_seq, pk) > (?, ?) AND change_seq < ?
ORDER BY change_seq, pk LIMIT ?
"""
_FOUND = "pk IN (SELECT pk FROM contact WHERE {})"
_FILTERS = {
    "account_id": "account_id = ?",
    "assigned_to": "assigned_to = ?",
    "created_after": _FOUND.format("created_at >= ?"),
    "last_inbound_after": _FOUND.format("last_inbound_at >= ?"),
    "metadata.cohort": f"pk IN (SELECT contact_id FROM contact_metadata WHERE term IN ({', '.join('?' * 21)}))",
}
_ORDER = "ORDER BY recency DESC, created_at DESC, id"


def create_floor(url: str = "") -> Flask:
    """Create the WSGI application on a database, by default that of DATABASE_URL."""
    url = url or os.environ["DATABASE_URL"]
    driver: ModuleType = floor_sqlite if url.startswith("sqlite") else floor_postgresql
    driver.use_database(url)
    app = Flask("floor", static_folder=None)
    contacts_at_start: list[int] = []

    @app.get("/api/contacts/<id>")
    def get_contact(id: str) -> Response:  # noqa: A002
        [row] = driver.execute(f"SELECT {ALL_COLUMNS} FROM contact WHERE id = ?", (id,))
        return success(to_contact(row, driver, datetime.now(UTC)))

    @app.get("/api/contacts/<id>/session-data")
    def get_session_data(id: str) -> Response:  # noqa: A002
        [row] = driver.execute(_SESSION_DATA, (id,))
        return success(to_session(row, driver))

    @app.get("/api/contacts")
    def list_contacts() -> Response:
        query = request.args
        conditions = [condition for name, condition in _FILTERS.items() if name in query]
        values: list[Any] = [value for name in _FILTERS if name in query for value in _values(name, query[name])]
        count: int | None = None
        if term := query.get("search", "").lower():
            [(count,)] = driver.execute(*driver.count_query(term))
            if not contacts_at_start:
                contacts_at_start.extend(driver.execute("SELECT MAX(pk) FROM contact")[0])
            # Testing rows in the order of the list (page size / density) is faster than sorting all matches
            # (density * contacts) if there are many matches.
            is_dense = count**2 > _LIMIT * contacts_at_start[0]
            condition, terms = (driver.scan_condition if is_dense else driver.search_condition)(term)
            conditions.append(condition)
            values += terms
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        if count is None and conditions and "account_id" not in query:
            [(count,)] = driver.execute(f"SELECT COUNT(*) FROM contact {where}", values)
        elif count is None:
            account = "WHERE account = ?" if "account_id" in query else ""
            sql = f"SELECT CAST(COALESCE(SUM(contacts), 0) AS BIGINT) FROM contact_count {account}"
            [(count,)] = driver.execute(sql, values)
        page = None if "cursor" in query else int(query.get("page", 1))
        rows = _select_page(driver, where, values, page, query.get("cursor"))
        now = datetime.now(UTC)
        return success(
            {
                "items": [to_summary(row, driver, now) for row in rows[:_PAGE_SIZE]],
                "total": count,
                "page": page,
                "limit": _PAGE_SIZE,
                "total_pages": -(-count // _PAGE_SIZE),
                "next_cursor": _to_cursor(rows[_PAGE_SIZE - 1]) if len(rows) > _PAGE_SIZE else None,
            }
        )

    app.add_url_rule("/api/changes", view_func=partial(_list_changes, driver), endpoint="changes")
    floor_writes.add_write_routes(app, driver)
    return app


def _values(name: str, text: str) -> list[Any]:
    """The values of a filter's condition."""
    if name != "metadata.cohort":
        return [text]
    return [term_of(account, "cohort", text) for account in (*ACCOUNTS, NO_ACCOUNT)]


def _list_changes(driver: ModuleType) -> Response:
    limit, after = int(request.args.get("limit", 100)), request.args.get("after", "")
    [(bound,)] = driver.execute(f"SELECT base + {driver.FIRST_OPEN} FROM change_feed")
    place = [bound, 0] if after == "now" else orjson.loads(urlsafe_b64decode(after)) if after else [0, 0]
    rows = driver.execute(_CHANGES, (*place, bound, limit + 1))
    now = datetime.now(UTC)
    contacts = [to_contact(row, driver, now) for row in rows[:limit]]
    items = [{"id": each["id"], "deleted": False, "merged_into": None, "contact": each} for each in contacts]
    has_more = len(rows) > limit
    following = orjson.dumps(rows[limit - 1][-2:] if has_more else [bound, 0])
    return success({"items": items, "next": urlsafe_b64encode(following).decode(), "has_more": has_more})


def _select_page(driver: ModuleType, where: str, values: list[Any], page: int | None, cursor: str | None) -> Any:
    if cursor:
        recency, created_at, contact_id = orjson.loads(urlsafe_b64decode(cursor))
        if driver is floor_postgresql:
            created_at = datetime.fromisoformat(created_at)
        # The first condition is a range of the index; the second excludes earlier rows with the same times.
        after = "(recency, created_at) <= (?, ?) AND (recency < ? OR created_at < ? OR id > ?)"
        where = f"{where} AND {after}" if where else f"WHERE {after}"
        values = [*values, recency, created_at, recency, created_at, contact_id]
    offset = ((page or 1) - 1) * _PAGE_SIZE
    if not offset:
        return driver.execute(f"SELECT {SUMMARY_COLUMNS} FROM contact {where} {_ORDER} LIMIT {_LIMIT}", values)
    # The offset is skipped in the index alone.
    ids = f"SELECT id FROM contact {where} {_ORDER} LIMIT {_LIMIT} OFFSET {offset}"
    return driver.execute(f"SELECT {SUMMARY_COLUMNS} FROM contact WHERE id IN ({ids}) {_ORDER}", values)


def _to_cursor(row: tuple[Any, ...]) -> str:
    return urlsafe_b64encode(orjson.dumps([*sort_key(row)], option=orjson.OPT_UTC_Z)).decode()
