"""The floor: bare Flask routes with SQL written by hand, on the service's own tables and with its answers.

Nothing is checked, nothing goes wrong, nobody is asked for a key: what remains is what Flask, the driver, the
database and orjson take for the same answer or effect. Cursors have a form of their own.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import orjson
from flask import Flask, Response, request

from benchmarks import floor_postgresql, floor_sqlite, floor_writes
from benchmarks.floor_rows import SUMMARY, WHOLE, answer, moment_of, session, summary, whole

# Where matches are so dense that twenty are found sooner by testing rows in the list's order than by sorting them
# all: rows tested (21 / density) against rows sorted (density times contacts).
_PAGE = 21
_SHOWN_SESSION = """
SELECT s.id, s.flow_id, COALESCE(own.name, shared.name), s.status, s.session_data, s.created_at, s.updated_at,
    COALESCE(own.panel_config, shared.panel_config)
FROM contact AS c LEFT JOIN session AS s ON s.pk = (
    SELECT pk FROM session WHERE contact_id = c.pk AND status IN ('active', 'completed')
    ORDER BY created_at DESC, pk DESC LIMIT 1
) LEFT JOIN flow AS own ON own.id = s.flow_id AND own.account_id = c.account_id
LEFT JOIN flow AS shared ON shared.id = s.flow_id AND shared.account_id IS NULL WHERE c.id = ?
"""
_ORDER = "ORDER BY recency DESC, created_at DESC, id"


def create_floor(url: str = "") -> Flask:
    """Make the WSGI application on a database, by default that of DATABASE_URL."""
    url = url or os.environ["DATABASE_URL"]
    driver: ModuleType = floor_sqlite if url.startswith("sqlite") else floor_postgresql
    driver.use(url)
    app = Flask("floor", static_folder=None)
    contacts_at_start: list[int] = []

    @app.get("/api/contacts/<id>")
    def get(id: str) -> Response:  # noqa: A002
        [row] = driver.run(f"SELECT {WHOLE} FROM contact WHERE id = ?", (id,))
        return answer(whole(row, driver, datetime.now(UTC)))

    @app.get("/api/contacts/<id>/session-data")
    def session_data(id: str) -> Response:  # noqa: A002
        [row] = driver.run(_SHOWN_SESSION, (id,))
        return answer(session(row, driver))

    @app.get("/api/contacts")
    def list_contacts() -> Response:
        query = request.args
        conditions: list[str] = []
        values: list[Any] = []
        counted: list[tuple[Any, ...]] | None = None
        for column in ("account_id", "assigned_to"):
            if column in query:
                conditions.append(f"{column} = ?")
                values.append(query[column])
        if term := query.get("search", "").lower():
            counted = driver.run(*driver.counting(term))
            if not contacts_at_start:
                contacts_at_start.extend(driver.run("SELECT MAX(pk) FROM contact")[0])
            is_dense = counted[0][0] ** 2 > _PAGE * contacts_at_start[0]
            condition, terms = (driver.testing if is_dense else driver.matching)(term)
            conditions.append(condition)
            values += terms
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        if counted is None:
            kept = "SELECT CAST(COALESCE(SUM(contacts), 0) AS BIGINT) FROM"
            table = "assigned_count WHERE assigned_to = ?" if "assigned_to" in query else "contact_count"
            account = " WHERE account = ?" if "account_id" in query else ""
            counted = driver.run(f"{kept} {table}{account}", values)
        [(total,)] = counted
        page = None if "cursor" in query else int(query.get("page", 1))
        rows = _page(driver, where, values, page, query.get("cursor"))
        now = datetime.now(UTC)
        return answer(
            {
                "items": [summary(row, driver, now) for row in rows[:20]],
                "total": total,
                "page": page,
                "limit": 20,
                "total_pages": -(-total // 20),
                "next_cursor": _cursor(rows[19]) if len(rows) > 20 else None,
            }
        )

    floor_writes.add_to(app, driver)
    return app


def _page(driver: ModuleType, where: str, values: list[Any], page: int | None, cursor: str | None) -> Any:
    if cursor:
        recency, created_at, contact_id = orjson.loads(urlsafe_b64decode(cursor))
        if driver is floor_postgresql:
            created_at = datetime.fromisoformat(created_at)
        # The first condition is a range of the index; the second takes out what shares the place's times.
        after = "(recency, created_at) <= (?, ?) AND (recency < ? OR created_at < ? OR id > ?)"
        where = f"{where} AND {after}" if where else f"WHERE {after}"
        values = [*values, recency, created_at, recency, created_at, contact_id]
    offset = ((page or 1) - 1) * 20
    if not offset:
        return driver.run(f"SELECT {SUMMARY} FROM contact {where} {_ORDER} LIMIT {_PAGE}", values)
    # The way there is in the index alone.
    narrow = f"SELECT id FROM contact {where} {_ORDER} LIMIT {_PAGE} OFFSET {offset}"
    return driver.run(f"SELECT {SUMMARY} FROM contact WHERE id IN ({narrow}) {_ORDER}", values)


def _cursor(row: tuple[Any, ...]) -> str:
    recency, created_at, contact_id = moment_of(row)
    return urlsafe_b64encode(orjson.dumps([recency, created_at, contact_id], option=orjson.OPT_UTC_Z)).decode()
