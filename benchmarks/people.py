"""The rows of a database of contacts, made from nothing but its size: the same size gives the same rows.

Rows are made by chunks, so that processes share the work. Times and ids are text and flags are 0 and 1, which both
databases take.
"""

import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

from benchmarks.names import choose_script, full_name, profile_name
from contacts_service.services.search_text import searchable

SEED = 5
CHUNK = 10_000
NEWEST = datetime(2026, 9, 1, tzinfo=UTC)
SPAN = timedelta(days=3 * 365)
CONVERSATIONS_KEPT = timedelta(days=7)  # Older messages show in the contact alone.
MOST_OF_A_CONTACT = 16  # Messages and sessions; their keys leave room for as many.

Rows = dict[str, list[tuple[Any, ...]]]
COLUMNS = {
    "flow": ("id", "name", "panel_config", "created_at", "updated_at", "version"),
    "contact": (
        *("pk", "id", "account_id", "phone_number", "bsuid", "username", "name", "profile_name", "avatar_url"),
        *("assigned_to", "tags", "marketing_opt_out", "metadata", "search_text", "last_message_at"),
        *("last_message_key", "last_message_preview", "last_inbound_at", "unread_count"),
        *("created_at", "updated_at", "version"),
    ),
    "contact_tag": ("contact_id", "tag"),
    "session": ("pk", "id", "contact_id", "flow_id", "status", "session_data", "created_at", "updated_at"),
    "message": (
        *("pk", "id", "contact_id", "account_id", "wa_message_id", "direction", "type", "content"),
        *("status", "status_at", "error", "timestamp", "key", "created_at"),
    ),
}


# What the service's triggers keep of contacts.
COUNTED = (
    """
    INSERT INTO contact_count (account, slot, contacts)
    SELECT COALESCE(CAST(account_id AS text), 'none'), 0, COUNT(*) FROM contact GROUP BY account_id
    """,
    """
    INSERT INTO assigned_count (assigned_to, account, slot, contacts)
    SELECT COALESCE(CAST(assigned_to AS text), 'none'), COALESCE(CAST(account_id AS text), 'none'), 0, COUNT(*)
    FROM contact GROUP BY assigned_to, account_id
    """,
)


class Planted(NamedTuple):
    """A name that as many contacts have as is said, spread evenly; no other name holds it."""

    name: str
    matches: int | None
    """None for one contact in twenty."""
    offset: int


# They share parts with common names (Hannah, Anne, Elena, Sandra), as what is searched mostly does. Where a name is
# there for its first one and two characters, these appear in no other name either.
RARE = Planted("Hannelore", 1, 3)
HUNDRED = Planted("Marisandra", 100, 7)
THOUSAND = Planted("Annalena", 1000, 5)
THOUSAND_SHORT = Planted("龍泉寺", 1000, 1)
DENSE = Planted("Maria", None, 13)
DENSE_SHORT = Planted("Qadri", None, 19)
PLANTED = (RARE, HUNDRED, THOUSAND, THOUSAND_SHORT, DENSE, DENSE_SHORT)


def step_of(planted: Planted, size: int) -> int:
    """How many contacts there are to each that has the planted name."""
    return size // planted.matches if planted.matches else 20


def some_id(kind: int, number: int) -> str:
    """Make the id of an account (kind 1), user (2) or flow (3)."""
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


ACCOUNTS = [some_id(1, number) for number in range(20)]
USERS = [some_id(2, number) for number in range(200)]
FLOWS = [some_id(3, number) for number in range(5)]
_ACCOUNT_WEIGHTS = list(accumulate(1 / rank for rank in range(1, 21)))  # Zipf: the first has 28 %, the last 1.4 %.
_USER_WEIGHTS = list(accumulate(1 / (rank + 20) for rank in range(200)))
_TAGS = [f"{what}-{number}" for what in ("vip", "lead", "city", "product", "event", "team") for number in range(5)]
_TEXTS = (
    "Where is my order?",
    "Thank you!",
    "¿Cuánto cuesta?",
    "नमस्ते",
    "Спасибо",
    "شكرا",
    "多少钱",
    "Ok 👍 see you then",
)
_STATUSES = ("active", "completed", "completed", "cancelled", "timeout")


def flow_rows() -> list[tuple[Any, ...]]:
    """Make the flows, which belong to no account, each with a panel of twelve fields as the service stores it."""
    created = written(NEWEST - SPAN)
    fields = [{"key": f"variable_{number}", "label": f"Variable {number}", "order": number} for number in range(6)]
    sections = [
        {"id": f"s{n}", "label": f"S{n}", "columns": 2, "collapsible": False, "default_collapsed": False, "order": n,
         "fields": fields}
        for n in range(2)
    ]  # fmt: skip
    panel = orjson.dumps({"sections": sections}).decode()
    return [(flow, f"Flow {number}", panel, created, created, 1) for number, flow in enumerate(FLOWS)]


def make_chunk(chunk: int, size: int) -> Rows:
    """Make the contacts of one chunk and all that belongs to them."""
    chance = random.Random(SEED * 1_000_003 + chunk)
    rows: Rows = {table: [] for table in COLUMNS if table != "flow"}
    for number in range(chunk * CHUNK, min((chunk + 1) * CHUNK, size)):
        _add_contact(rows, number, size, chance)
    return rows


def _add_contact(rows: Rows, number: int, size: int, chance: random.Random) -> None:
    pk = number + 1
    script = choose_script(chance)
    account = _weighted(ACCOUNTS, _ACCOUNT_WEIGHTS, chance) if chance.random() < 0.97 else None
    usual = full_name(script, chance)
    called = profile_name(script, chance) if chance.random() < 0.85 else None
    planted = next((each for each in PLANTED if number % step_of(each, size) == each.offset), None)
    name: str | None = f"{planted.name} {usual.split(' ')[-1]}" if planted else usual
    if called and not planted and chance.random() < 0.2:
        name = None  # Nobody gave the contact a name yet.
    # A permutation of nine digits: no number comes twice. One contact in twenty hides it.
    digits = (number * 387_420_489 + 123_456_789) % 1_000_000_000
    phone_number = f"+{chance.choice(script.country_codes)}{digits:09}" if chance.random() < 0.95 else None
    bsuid = f"US.{10**18 + number * 7919}" if phone_number is None or chance.random() < 0.2 else None
    created = NEWEST - SPAN + SPAN * ((number + chance.random()) / size)
    tags = chance.sample(_TAGS, chance.choice((1, 1, 2, 3))) if chance.random() < 0.35 else []
    rows["contact_tag"] += [(pk, tag) for tag in tags]
    talk = list(_conversation(pk, account, created, chance)) if chance.random() < 0.6 else []
    newest = talk[-1] if talk else None
    if newest and newest[11] >= written(NEWEST - CONVERSATIONS_KEPT):
        rows["message"] += talk
    inbound = [message for message in talk if message[5] == "incoming"]
    for position in range(chance.choice((1, 1, 1, 2, 3)) if chance.random() < 0.2 else 0):
        rows["session"].append(_session(pk, position, created, chance))
    rows["contact"].append(
        (
            pk,
            _uuid7(created, chance),
            account,
            phone_number,
            bsuid,
            f"user.{number}" if bsuid and chance.random() < 0.5 else None,
            name,
            called,
            f"https://example.com/{number}.jpg" if chance.random() < 0.3 else None,
            _weighted(USERS, _USER_WEIGHTS, chance) if chance.random() < 0.3 else None,
            orjson.dumps(tags).decode(),
            int(chance.random() < 0.04),
            _metadata(number, chance),
            searchable(name=name, profile_name=called, phone_number=phone_number),
            newest[11] if newest else None,
            newest[12] if newest else None,
            orjson.loads(newest[7])["body"] if newest else None,
            inbound[-1][11] if inbound else None,
            min(len(inbound), 3) if chance.random() < 0.3 else 0,
            written(created),
            newest[13] if newest else written(created),
            1 + len(talk),
        )
    )


def _conversation(pk: int, account: str | None, created: datetime, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    """Make a contact's messages, oldest first; most contacts wrote last in recent times."""
    moment = max(created, NEWEST - SPAN * chance.random() ** 3).replace(microsecond=0)
    for position in range(chance.choice((1, 2, 2, 3, 4, 6))):
        moment += timedelta(seconds=chance.randrange(1, 600))
        key = pk * MOST_OF_A_CONTACT + position
        wa_message_id, at = f"wamid.{key:024X}", written(moment)
        incoming = chance.random() < 0.6
        status, status_at = (None, None) if incoming else ("read", at)
        content = orjson.dumps({"body": chance.choice(_TEXTS)}).decode()
        direction = "incoming" if incoming else "outgoing"
        yield (
            *(key, _uuid7(moment, chance), pk, account, wa_message_id, direction, "text", content),
            *(status, status_at, None, at, wa_message_id, at),
        )


def _session(pk: int, position: int, created: datetime, chance: random.Random) -> tuple[Any, ...]:
    started = created + timedelta(hours=position, seconds=chance.randrange(3600))
    data = {f"variable_{key}": chance.randrange(1000) for key in range(chance.randrange(2, 7))}
    at = written(started)
    return (
        *(pk * MOST_OF_A_CONTACT + position, _uuid7(started, chance), pk, chance.choice(FLOWS)),
        *(chance.choice(_STATUSES), orjson.dumps(data).decode(), at, at),
    )


def _metadata(number: int, chance: random.Random) -> str:
    if chance.random() < 0.4:
        return "{}"
    kept: dict[str, Any] = {"plan": chance.choice(("free", "gold")), "customer": number, "source": "ads"}
    if chance.random() < 0.02:
        kept["note"] = "Called twice, wants to be called again. " * 40
    return orjson.dumps(kept).decode()


def _weighted(choices: list[str], weights: list[float], chance: random.Random) -> str:
    return choices[bisect(weights, chance.random() * weights[-1])]


def written(moment: datetime) -> str:
    """Write a moment as SQLite's tables hold it; PostgreSQL reads it too."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _uuid7(moment: datetime, chance: random.Random) -> str:
    milliseconds, bits = int(moment.timestamp() * 1000), chance.getrandbits(74)
    digits = f"{milliseconds << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & ((1 << 62) - 1):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
