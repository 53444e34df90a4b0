"""Any combination of filters lists exactly what a plain Python filter over the same rows chooses."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, OTHER_USER, USER
from helpers.keys import make_key

from contacts_service.contacts import list_planning
from contacts_service.contacts.tables import Contact
from contacts_service.db.database import reading

START = datetime(2024, 1, 1, tzinfo=UTC)
CONTACTS, COMBINATIONS = 60, 40
METADATA: list[dict[str, Any]] = [
    {},
    {"plan": "gold", "seats": 5, "a.b": "x"},
    {"plan": "free", "seats": "5", "a": {"b": "x"}},
    {"plan": "gold", "seats": 5.0, "note": "é" * 3000},
    {"plan": None, "seats": 10**30, "vip": True},
    {"plan": ["gold"], "": "empty", "vip": "true"},
]
METADATA_FILTERS = [
    *("plan=gold", "plan=free", "plan=null", "plan=Gold", "seats=5", "seats=5.0", f"seats={10**30}", "vip=true"),
    *("a.b=x", "a=x", "=empty", "missing=x", f"note={'é' * 3000}", "note=é"),
]


def moment(day: int) -> str:
    return (START + timedelta(days=day)).isoformat()


@pytest.fixture
def rows(caller: Caller) -> list[dict[str, Any]]:
    """Contacts of all kinds, as GET answers them."""
    chance, ids = random.Random(3), []
    for number in range(CONTACTS):
        fields = {
            "name": f"{number:02} {chance.choice(['Smith', 'Smart'])}",
            "tags": chance.choice([[], ["vip"], ["new", "vip"], ["a/b"]]),
            "metadata": chance.choice(METADATA),
            "marketing_opt_out": chance.random() < 0.3,
            **({"account_id": account} if (account := chance.choice([None, ACCOUNT, OTHER_ACCOUNT])) else {}),
        }
        contact = caller.create(f"+12345678{number:02}", **fields)
        ids.append(contact["id"])
        path = f"/api/contacts/{contact['id']}"
        if chance.random() < 0.5:
            caller.put(f"{path}/assign", {"user_id": chance.choice([USER, OTHER_USER])})
        for direction in chance.choice([[], ["incoming"], ["outgoing"], ["incoming", "outgoing"]]):
            body = {"direction": direction, "type": "text", "content": {}, "timestamp": moment(chance.randrange(8))}
            caller.post(f"{path}/messages", body)
        if chance.random() < 0.3:
            caller.post(f"{path}/mark-read", None)
        if chance.random() < 0.3:
            caller.put(path, {"metadata": chance.choice(METADATA)})
        with reading():
            created_at = START + timedelta(days=chance.randrange(8))
            Contact.update(created_at=created_at).where(Contact.id == contact["id"]).execute()
    return [caller.get(f"/api/contacts/{contact_id}").data for contact_id in ids]


def passes(  # noqa: C901 - A branch for each kind of filter.
    row: dict[str, Any], query: dict[str, str]
) -> bool:
    """Whether a contact passes the filters, by the contract."""
    for name, text in query.items():
        if name.endswith(("_after", "_before")):
            column = row[f"{name.rpartition('_')[0]}_at"]
            is_before = column is None or datetime.fromisoformat(column) < datetime.fromisoformat(text)
            if is_before is not name.endswith("_before"):
                return False
        elif name.startswith("metadata."):
            value = row["metadata"].get(name.removeprefix("metadata."), {})
            if isinstance(value, dict | list) or text != (value if isinstance(value, str) else json.dumps(value)):
                return False
        elif name == "tags":
            if not set(text.split(",")) & set(row["tags"]):
                return False
        elif name == "search":
            if text not in row["name"].lower():
                return False
        else:
            value = {"unread": row["unread_count"] > 0}.get(name, row.get(name))
            written = json.dumps(value) if isinstance(value, bool) else value or "none"
            if written != text:
                return False
    return True


def in_order(rows: list[dict[str, Any]], sort: str) -> list[str]:
    rows = sorted(rows, key=lambda row: row["id"], reverse=sort == "-created")
    rows.sort(key=lambda row: row["created_at"], reverse=sort != "created")
    if sort == "recent":
        rows.sort(key=lambda row: row["last_message_at"] or "", reverse=True)
    return [row["id"] for row in rows]


def random_query(chance: random.Random) -> dict[str, str]:
    bounds = [f"{what}_{side}" for what in ("created", "last_message", "last_inbound") for side in ("after", "before")]
    choices = {
        **{bound: [moment(day) for day in range(-1, 9)] for bound in bounds},
        "unread": ["true", "false"],
        "marketing_opt_out": ["true", "false"],
        "tags": ["vip", "new,a/b", "none"],
        "search": ["smith", "smart", "sm", "s"],
        "account_id": [ACCOUNT, OTHER_ACCOUNT, "none"],
        "assigned_to": [USER, OTHER_USER, "none"],
    }
    query = {name: chance.choice(choices[name]) for name in chance.sample(sorted(choices), chance.choice([1, 1, 2, 3]))}
    for pair in chance.sample(METADATA_FILTERS, chance.choice([0, 0, 1, 2])):
        key, _, value = pair.partition("=")
        query[f"metadata.{key}"] = value
    return query


@pytest.mark.parametrize("walks", [False, True])
def test_any_combination_of_filters_lists_what_a_plain_filter_chooses(
    app: Flask, rows: list[dict[str, Any]], walks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every order, by page and by cursor, for every key, whether a page is walked or sorted."""
    if walks:
        monkeypatch.setattr(list_planning, "_MIN_DENSE_MATCHES", 0)
    else:
        monkeypatch.setattr(list_planning, "_COUNTED", (1, 3))  # Indexes are compared by counts as in a large table.
    chance = random.Random(walks)
    keys: list[set[str] | None] = [None, {ACCOUNT}, {ACCOUNT, OTHER_ACCOUNT}]
    callers = [Caller(app, make_key(app, accounts=accounts and sorted(accounts))) for accounts in keys]
    found = 0
    for _ in range(COMBINATIONS):
        query, sort, limit = (
            random_query(chance),
            chance.choice(["recent", "created", "-created"]),
            chance.choice([5, 11]),
        )
        for accounts, limited in zip(keys, callers, strict=True):
            if accounts and query.get("account_id", ACCOUNT) not in accounts:
                assert limited.get("/api/contacts", **query).code == "account_forbidden"
                continue
            visible = [row for row in rows if not accounts or row["account_id"] in accounts]
            expected = in_order([row for row in visible if passes(row, query)], sort)
            walked, page = [], {"next_cursor": ""}
            while page["next_cursor"] is not None:
                cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
                page = limited.get("/api/contacts", sort=sort, limit=limit, **query, **cursor).data
                assert page["total"] == len(expected), (query, sort)
                walked += [contact["id"] for contact in page["items"]]
            assert walked == expected, (query, sort, accounts)
            second = limited.get("/api/contacts", sort=sort, limit=limit, page=2, **query).data["items"]
            assert [contact["id"] for contact in second] == expected[limit : 2 * limit], (query, sort)
            found += bool(expected)
    assert found > COMBINATIONS / 2, "the filters choose something"
