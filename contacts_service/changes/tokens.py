"""The token that leads from one page of the change feed to the next."""

import hashlib
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

import orjson

from contacts_service.db.caller import AllowedAccounts
from contacts_service.errors import InvalidRequest

# Format version, generation, place, tombstones_from, fingerprint.
_FORMAT = struct.Struct(">B16sqqq6s")
_VERSION = 1
_BAD_TOKEN = {"after": ["Not a token of this feed, and not the word now."]}


class Place(NamedTuple):
    """A place in the order of the feed. It reads what comes after."""

    change_seq: int
    pk: int


class Token(NamedTuple):
    """How far a reader has come, and what else its pages depend on."""

    generation: str
    place: Place
    tombstones_from: int
    """Contacts that ended before this change_seq were never shown to the reader."""
    fingerprint: bytes
    """Digest of the filter and of the accounts that the key may see."""


def encode_token(token: Token) -> str:
    packed = _FORMAT.pack(_VERSION, token.generation.encode(), *token.place, token.tombstones_from, token.fingerprint)
    return urlsafe_b64encode(packed).decode().rstrip("=")


def decode_token(text: str) -> Token:
    """Raises InvalidRequest."""
    try:
        packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        version, generation, change_seq, pk, tombstones_from, fingerprint = _FORMAT.unpack(packed)
        token = Token(generation.decode("ascii"), Place(change_seq, pk), tombstones_from, fingerprint)
    except (ValueError, struct.error) as error:  # Bad base64 and text that isn't ASCII are ValueErrors too.
        raise InvalidRequest(_BAD_TOKEN) from error
    if version != _VERSION:
        raise InvalidRequest(_BAD_TOKEN)
    return token


def fingerprint_of(allowed_accounts: AllowedAccounts, account_filter: list[str | None]) -> bytes:
    accounts = None if allowed_accounts is None else sorted(allowed_accounts)
    return hashlib.blake2b(orjson.dumps([accounts, account_filter]), digest_size=6).digest()
