"""Generates the rows of a database of a given size; the same size always gives the same rows.

Rows are generated in chunks, which processes share. Times and ids are text and booleans are 0 and 1, which both
databases accept.
"""

import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

from benchmarks.names import choose_script, full_name, profile_name
from contacts_service.contacts.metadata_terms import terms_of
from contacts_service.contacts.search_text import searchable
from contacts_service.db.fields import JSONText

SEED = 5
CHUNK = 10_000
NEWEST = datetime(2026, 9, 1, tzinfo=UTC)
SPAN = timedelta(days=3 * 365)
MESSAGES_KEPT = timedelta(days=7)  # Contacts keep the preview of an older last message.
MAX_PER_CONTACT = 16  # Messages, and sessions, whose primary keys derive from that of the contact.

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
    "contact_metadata": ("term", "contact_id"),
    "contact_identifier": ("account", "kind", "value", "contact_id", "current", "first_seen_at", "last_seen_at"),
    "session": ("pk", "id", "contact_id", "flow_id", "status", "session_data", "created_at", "updated_at"),
    "message": (
        *("pk", "id", "contact_id", "account_id", "wa_message_id", "direction", "type", "content"),
        *("status", "status_at", "error", "timestamp", "key", "created_at", "history"),
    ),
}


class PlantedName(NamedTuple):
    """A name that a known number of contacts has, evenly spread; no other name contains it."""

    name: str
    matches: int | None
    """None for one contact in twenty."""
    offset: int


# They share parts with common names (Hannah, Anne, Elena, Sandra). No other name contains the first characters of
# those for short searches.
RARE = PlantedName("Hannelore", 1, 3)
HUNDRED = PlantedName("Marisandra", 100, 7)
THOUSAND = PlantedName("Annalena", 1000, 5)
THOUSAND_SHORT = PlantedName("龍泉寺", 1000, 1)
DENSE = PlantedName("Maria", None, 13)
DENSE_SHORT = PlantedName("Qadri", None, 19)
PLANTED_NAMES = (RARE, HUNDRED, THOUSAND, THOUSAND_SHORT, DENSE, DENSE_SHORT)


def spacing_of(planted: PlantedName, size: int) -> int:
    """One contact in how many has the planted name."""
    return size // planted.matches if planted.matches else 20


def numbered_id(kind: int, number: int) -> str:
    """The id of an account (kind 1), user (2) or flow (3)."""
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


ACCOUNTS = [numbered_id(1, number) for number in range(20)]
USERS = [numbered_id(2, number) for number in range(200)]
FLOWS = [numbered_id(3, number) for number in range(5)]
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
    """Flows without account, each with twelve panel fields in the format that the service stores."""
    created = to_timestamp(NEWEST - SPAN)
    fields = [{"key": f"variable_{number}", "label": f"Variable {number}", "order": number} for number in range(6)]
    sections = [
        {"id": f"s{n}", "label": f"S{n}", "columns": 2, "collapsible": False, "default_collapsed": False, "order": n,
         "fields": fields}
        for n in range(2)
    ]  # fmt: skip
    panel = orjson.dumps({"sections": sections}).decode()
    return [(flow, f"Flow {number}", panel, created, created, 1) for number, flow in enumerate(FLOWS)]


def make_rows(chunk: int, size: int) -> Rows:
    """The contacts of one chunk with their tags, messages and sessions."""
    rng = random.Random(SEED * 1_000_003 + chunk)
    rows: Rows = {table: [] for table in COLUMNS if table != "flow"}
    for number in range(chunk * CHUNK, min((chunk + 1) * CHUNK, size)):
        _add_contact(rows, number, size, rng)
    return rows


def _add_contact(rows: Rows, number: int, size: int, rng: random.Random) -> None:
    pk = number + 1
    script = choose_script(rng)
    account = _weighted(ACCOUNTS, _ACCOUNT_WEIGHTS, rng) if rng.random() < 0.97 else None
    common_name = full_name(script, rng)
    profile = profile_name(script, rng) if rng.random() < 0.85 else None
    planted = next((each for each in PLANTED_NAMES if number % spacing_of(each, size) == each.offset), None)
    name: str | None = f"{planted.name} {common_name.split(' ')[-1]}" if planted else common_name
    if profile and not planted and rng.random() < 0.2:
        name = None  # Only the profile name is known.
    # The multiplication permutes nine digits, so numbers are unique. One contact in twenty has none.
    digits = (number * 387_420_489 + 123_456_789) % 1_000_000_000
    phone_number = f"+{rng.choice(script.country_codes)}{digits:09}" if rng.random() < 0.95 else None
    bsuid = f"US.{10**18 + number * 7919}" if phone_number is None or rng.random() < 0.2 else None
    username = f"user.{number}" if bsuid and rng.random() < 0.5 else None
    created = NEWEST - SPAN + SPAN * ((number + rng.random()) / size)
    tags = rng.sample(_TAGS, rng.choice((1, 1, 2, 3))) if rng.random() < 0.35 else []
    rows["contact_tag"] += [(pk, tag) for tag in tags]
    identifiers = {"phone_number": phone_number, "bsuid": bsuid}
    rows["contact_identifier"] += [
        (account or "none", kind, value, pk, 1, to_timestamp(created), to_timestamp(created))
        for kind, value in identifiers.items()
        if value
    ]
    messages = list(_messages(pk, account, created, rng)) if rng.random() < 0.6 else []
    last_message = messages[-1] if messages else None
    if last_message and last_message[11] >= to_timestamp(NEWEST - MESSAGES_KEPT):
        rows["message"] += messages
    incoming = [message for message in messages if message[5] == "incoming"]
    for position in range(rng.choice((1, 1, 1, 2, 3)) if rng.random() < 0.2 else 0):
        rows["session"].append(_session(pk, position, created, rng))
    metadata = _metadata(number, planted, rng)
    rows["contact_metadata"] += [(term, pk) for term in terms_of(account, metadata)]
    rows["contact"].append(
        (
            pk,
            _uuid7(created, rng),
            account,
            phone_number,
            bsuid,
            username,
            name,
            profile,
            f"https://example.com/{number}.jpg" if rng.random() < 0.3 else None,
            _weighted(USERS, _USER_WEIGHTS, rng) if rng.random() < 0.3 else None,
            orjson.dumps(tags).decode(),
            int(rng.random() < 0.04),
            metadata,
            searchable(name=name, profile_name=profile, phone_number=phone_number, username=username),
            last_message[11] if last_message else None,
            last_message[12] if last_message else None,
            orjson.loads(last_message[7])["body"] if last_message else None,
            incoming[-1][11] if incoming else None,
            min(len(incoming), 3) if rng.random() < 0.3 else 0,
            to_timestamp(created),
            last_message[13] if last_message else to_timestamp(created),
            1 + len(messages),
        )
    )


def _messages(pk: int, account: str | None, created: datetime, rng: random.Random) -> Iterator[tuple[Any, ...]]:
    """The messages of a contact, oldest first; most are recent."""
    time = max(created, NEWEST - SPAN * rng.random() ** 3).replace(microsecond=0)
    for position in range(rng.choice((1, 2, 2, 3, 4, 6))):
        time += timedelta(seconds=rng.randrange(1, 600))
        key = pk * MAX_PER_CONTACT + position
        wa_message_id, at = f"wamid.{key:024X}", to_timestamp(time)
        incoming = rng.random() < 0.6
        status, status_at = (None, None) if incoming else ("read", at)
        content = orjson.dumps({"body": rng.choice(_TEXTS)}).decode()
        direction = "incoming" if incoming else "outgoing"
        yield (
            *(key, _uuid7(time, rng), pk, account, wa_message_id, direction, "text", content),
            *(status, status_at, None, at, wa_message_id, at, 0),
        )


def _session(pk: int, position: int, created: datetime, rng: random.Random) -> tuple[Any, ...]:
    started = created + timedelta(hours=position, seconds=rng.randrange(3600))
    data = {f"variable_{key}": rng.randrange(1000) for key in range(rng.randrange(2, 7))}
    at = to_timestamp(started)
    return (
        *(pk * MAX_PER_CONTACT + position, _uuid7(started, rng), pk, rng.choice(FLOWS)),
        *(rng.choice(_STATUSES), orjson.dumps(data).decode(), at, at),
    )


def _metadata(number: int, planted: PlantedName | None, rng: random.Random) -> JSONText:
    metadata: dict[str, Any] = {"cohort": planted.name} if planted and planted.matches else {}
    if rng.random() < 0.4:
        return JSONText.of(metadata)
    metadata |= {"plan": rng.choice(("free", "gold")), "customer": number, "source": "ads"}
    if rng.random() < 0.02:
        metadata["note"] = "Called twice, wants to be called again. " * 40
    return JSONText.of(metadata)


def _weighted(choices: list[str], weights: list[float], rng: random.Random) -> str:
    return choices[bisect(weights, rng.random() * weights[-1])]


def to_timestamp(time: datetime) -> str:
    """The format of SQLite's tables, which PostgreSQL reads too."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _uuid7(time: datetime, rng: random.Random) -> str:
    milliseconds, bits = int(time.timestamp() * 1000), rng.getrandbits(74)
    digits = f"{milliseconds << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & ((1 << 62) - 1):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
