"""Finds contacts by the scalars at the top of their metadata.

Each scalar is a term: a number of 64 bits made of the account, the key and the text. So an index of fixed width finds
texts of any length, and those of one account without those of others.
"""

import hashlib
import json
from typing import Any

from contacts_service.contacts.tables import NO_ACCOUNT, ContactMetadata
from contacts_service.db.fields import JSONText
from contacts_service.db.prepared import prepared

Metadata = dict[str, Any] | JSONText
_MAX_ROWS = 1000  # Of one statement.


def term_of(account: str, key: str, text: str) -> int:
    """The term of a key with a scalar's text among the contacts of an account, named as ContactCount does."""
    digest = hashlib.blake2b(json.dumps([account, key, text]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def store_terms(contact_pk: int, account_id: str | None, before: Metadata, after: Metadata) -> None:
    """Let a contact be found by its new metadata and no longer by what it had before. Only differences are written."""
    old, new = _scalars(before), _scalars(after)
    for write, scalars in ((_delete, old - new), (_insert, new - old)):
        terms = sorted({term_of(account_id or NO_ACCOUNT, *each) for each in scalars})
        for start in range(0, len(terms), _MAX_ROWS):
            write(contact_pk, terms[start : start + _MAX_ROWS])


def terms_of(account_id: str | None, metadata: Metadata) -> set[int]:
    return {term_of(account_id or NO_ACCOUNT, *each) for each in _scalars(metadata)}


def _scalars(metadata: Metadata) -> set[tuple[str, str]]:
    document = metadata.parsed() if isinstance(metadata, JSONText) else metadata
    return {
        (key, value if isinstance(value, str) else JSONText.of(value))
        for key, value in document.items()
        if not isinstance(value, dict | list)
    }


@prepared
def _delete(contact_pk: Any, terms: list[Any]) -> Any:
    return ContactMetadata.delete().where(ContactMetadata.term.in_(terms), ContactMetadata.contact == contact_pk)


@prepared
def _insert(contact_pk: Any, terms: list[Any]) -> Any:
    return ContactMetadata.insert_many([{"term": term, "contact": contact_pk} for term in terms])
