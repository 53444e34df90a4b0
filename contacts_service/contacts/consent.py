"""Which word on marketing counts, whatever arrives when. See docs/decisions/consent.md."""

from datetime import UTC, datetime
from typing import Any

from contacts_service.db.prepared import Row
from schemas.constants import CONSENT_SOURCES

CONSENT = ("marketing_opt_out", "marketing_opt_out_at", "marketing_opt_out_source")
"""The columns of a word: whether it was stop, when it was said, and where it came from."""
NOT_SAID: Row = {"marketing_opt_out": False, "marketing_opt_out_at": None, "marketing_opt_out_source": None}
_NEVER = datetime(1, 1, 1, tzinfo=UTC)


def rank(word: Row) -> tuple[Any, ...]:
    """Order words: the highest counts. A contact is the word that it has.

    The newest, and of the same time stop. An import may forbid but never allow what anyone else has said no to, so its
    resume is below every other word.
    """
    opt_out, at, source = (word[name] for name in CONSENT)
    is_imported_resume = source == "import" and not opt_out
    is_said = at is not None or opt_out
    return is_said, not is_imported_resume, at or _NEVER, opt_out, CONSENT_SOURCES.index(source) if source else -1


def with_consent(contact: Row, fields: Row, source: str, *, now: datetime | None = None, is_batch: bool = False) -> Row:
    """The fields of a request with their word on marketing completed, or without it if the contact's own counts.

    ``contact`` is locked, or NOT_SAID for a new one. A word without ``marketing_opt_out_at`` is said ``now``; in the
    future too, or nothing could overrule a mistaken time. A batch may be sent again: there a word without time that
    says what is so already is none.
    """
    if "marketing_opt_out" not in fields:
        return fields
    now = now or datetime.now(UTC)
    opt_out, at = fields["marketing_opt_out"], fields.get("marketing_opt_out_at")
    word = dict(zip(CONSENT, (opt_out, min(at or now, now), source), strict=True))
    is_known = is_batch and at is None and opt_out == contact["marketing_opt_out"]
    if is_known or rank(word) <= rank(contact):
        return {name: value for name, value in fields.items() if name not in CONSENT}
    return {**fields, **word}
