"""Filters that select little begin with an index of what they select, whatever order the list has."""

from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT
from helpers.queries import count_queries

from contacts_service.db.database import database, reading

RANGES = {"contact_created", "contact_account_created", "contact_recent"}
DAY = "2024-01-01T00:00:00Z"


def plans_of(app: Flask, kind: str, query: dict[str, str]) -> list[str]:
    """The plans of the queries that count and read a page."""
    with count_queries() as queries:
        assert app.test_client().get("/api/contacts", query_string=query).status_code == 200
    sent = [record.msg for record in queries.get_queries()]
    plans = []
    with reading(), database.atomic():
        if kind == "postgresql":
            database.execute_sql(
                "ANALYZE contact, contact_metadata"
            )  # So that the plan doesn't depend on when autovacuum did.
            database.execute_sql("SET LOCAL enable_seqscan = off")
        for sql, parameters in sent:
            if "contact_count" not in sql:
                prefix = "EXPLAIN" if kind == "postgresql" else "EXPLAIN QUERY PLAN"
                rows = database.execute_sql(f"{prefix} {sql}", parameters).fetchall()
                plans.append("\n".join(str(row[-1]) for row in rows))
    return plans


@pytest.mark.parametrize("sort", ["recent", "created", "-created"])
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"created_after": DAY}, "contact_created"),
        ({"created_before": "2999-01-01T00:00:00Z"}, "contact_created"),
        ({"last_message_after": DAY}, "contact_recent"),
        ({"last_inbound_after": DAY}, "contact_inbound"),
        ({"last_inbound_before": "2999-01-01T00:00:00Z"}, "contact_inbound"),
        ({"unread": "true"}, "contact_unread"),
        ({"marketing_opt_out": "true"}, "contact_opted_out"),
        ({"unread": "true", "account_id": ACCOUNT}, "contact_unread"),
        ({"marketing_opt_out": "true", "account_id": ACCOUNT}, "contact_opted_out"),
        ({"created_after": DAY, "account_id": ACCOUNT}, "contact_account_created"),
        ({"metadata.plan": "gold"}, "contact_metadata"),
        ({"metadata.plan": "gold", "account_id": ACCOUNT, "unread": "false"}, "contact_metadata"),
    ],
    ids=str,
)
def test_filter_begins_with_its_index(  # noqa: PLR0913, PLR0917 - Parameters of the test.
    app: Flask, caller: Caller, kind: str, query: dict[str, str], index: str, sort: str
) -> None:
    for number in range(3):
        fields: dict[str, Any] = {"account_id": ACCOUNT, "metadata": {"plan": "gold"}, "marketing_opt_out": True}
        contact = caller.create(f"+123456789{number}", **fields)
        body = {"direction": "incoming", "type": "text", "content": {}}
        caller.post(f"/api/contacts/{contact['id']}/messages", body)
    plans = plans_of(app, kind, {**query, "sort": sort})
    assert plans
    for plan in plans:
        if kind == "postgresql" and index in RANGES:  # Of a few rows one index is as good as another.
            assert "Index Cond: " in plan, plan
        else:
            assert index in plan or (index == "contact_metadata" and "(term=?)" in plan), plan
        if kind == "sqlite":
            assert "SCAN contact" not in plan.replace(f"SCAN t1 USING COVERING INDEX {index}", ""), plan


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_index_with_the_fewest_contacts_is_looked_up(app: Flask, caller: Caller, kind: str) -> None:
    """As counted, since SQLite can't know: of two indexes, whichever way around."""
    for number in range(12):
        fields: dict[str, Any] = {
            "marketing_opt_out": number == 0,
            "metadata": {"few": "x"} if number == 1 else {"many": "x"},
        }
        caller.create(f"+12345678{number:02}", **fields)
    for query, looked_up in (
        ({"marketing_opt_out": "true", "metadata.many": "x"}, "contact_opted_out"),
        ({"metadata.few": "x", "created_after": DAY}, "(term=?)"),
        ({"search": "+1234567", "metadata.few": "x"}, "(term=?)"),
    ):
        page = plans_of(app, kind, query)[-1]
        assert looked_up in page, (query, page)
        assert "contact_search" not in page
