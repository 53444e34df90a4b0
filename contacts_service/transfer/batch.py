"""A batch of imported rows, within one transaction: few queries, however many rows.

Contacts are found by the rules of ``identity``. Contacts that exist are locked in the order of their keys, and new
identifiers are inserted in the order of kind and value; see ``identifiers``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from contacts_service.contacts.consent import NOT_SAID, with_consent
from contacts_service.contacts.identifiers import Identifier, find_keys, lock_by_keys, measure_metadata
from contacts_service.contacts.identity import Owner, Owners, Statement, find_matches, statement_of
from contacts_service.contacts.tables import ALL_COLUMNS, IDENTIFIER_KINDS, KEPT_KINDS, NO_ACCOUNT
from contacts_service.contacts.writes import change, changed_tags, new_contact
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import ConcurrentChange, database
from contacts_service.db.fields import JSONText
from contacts_service.db.merge_patch import bounded_document
from contacts_service.errors import ContactUnidentified, DocumentTooLarge, InvalidRequest
from contacts_service.transfer.inserting import insert_contacts
from contacts_service.transfer.scratch import Scratch

_MAX_CHANGED = 100  # Contacts, each with queries of its own; those that are new are inserted together.
_MAX_READ = 8 * 1024 * 1024  # Bytes of the metadata of the contacts that rows find.
_PUBLIC = [column.name for column in ALL_COLUMNS]
_NAMES_OF_MATCHES = {"previous_bsuid": "bsuid", "phone_variant": "phone_number"}
Errors = dict[str, list[str]]


class Row(NamedTuple):
    """A row of a file."""

    number: int
    """From 1, behind the header."""
    source: list[str]
    """Its cells, or its line, as they came."""
    fields: dict[str, Any]
    """Those of ImportRow, unless there are errors."""
    errors: Errors


class Options(NamedTuple):
    allowed_accounts: AllowedAccounts
    account_id: str | None
    """The account of rows that name none."""
    on_match: str


class _TooLarge(ConcurrentChange):
    """The contacts of the rows have much metadata: the next attempt is about fewer rows."""


class _Rejected(Exception):
    def __init__(self, errors: Errors) -> None:
        super().__init__()
        self.errors = errors


class Batch:
    """The contacts that the rows of a batch are about, as the rows before have left them."""

    def __init__(self, options: Options, on_wait: Callable[[], object], scratch: Scratch | None = None) -> None:
        self._options = options
        self._on_wait = on_wait
        self._scratch = scratch
        self._owners: dict[str | None, Owners] = {}
        self._new: dict[int, dict[str, Any]] = {}
        self._changed = 0
        self._keys: Iterator[int] = iter(())

    def run(self, rows: list[Row]) -> list[tuple[str, Errors]]:
        """Import rows until many contacts have changed, and say what became of each. Raises ConcurrentChange."""
        statements = [statement_of({kind: row.fields.get(kind) for kind in IDENTIFIER_KINDS}, None) for row in rows]
        self._find(rows, statements)
        outcomes: list[tuple[str, Errors]] = []
        for row, said in zip(rows, statements, strict=True):
            try:
                outcomes.append((self._import(row, said, len(rows)), {}))
            except _Rejected as error:
                outcomes.append(("failed", error.errors))
            except (InvalidRequest, DocumentTooLarge, ContactUnidentified) as error:
                outcomes.append(("failed", error.errors or {"row": [str(error)]}))
            if self._changed == _MAX_CHANGED:
                break
        self._insert_new()
        return outcomes

    def _account_of(self, row: Row) -> str | None:
        """Raises _Rejected."""
        account_id: str | None = row.fields.get("account_id", self._options.account_id)
        allowed = self._options.allowed_accounts
        if row.errors or (allowed is not None and account_id not in allowed):
            raise _Rejected(row.errors or {"account_id": ["Not one of the accounts that the key is limited to."]})
        return account_id

    def _find(self, rows: list[Row], statements: list[Statement]) -> None:
        """Lock the contacts that have or had the identifiers, and learn whose these are."""
        wanted: dict[str | None, list[dict[str, None]]] = defaultdict(lambda: [{} for _ in IDENTIFIER_KINDS])
        variants = set()
        for row, said in zip(rows, statements, strict=True):
            with suppress(_Rejected):
                account_id = self._account_of(row)
                for known, more in zip(wanted[account_id], said.identifiers, strict=True):
                    known.update(dict.fromkeys(more))
                if len(said.phone_forms) > 1:
                    variants.add(f"{account_id}/{min(said.phone_forms)}")
        if variants and self._scratch is None:  # As identity does for one.
            database.lock_key(*sorted(variants))
        size = 0
        for account_id in sorted(wanted, key=str):
            account = account_id or NO_ACCOUNT
            values = {kind: [*each] for kind, each in zip(IDENTIFIER_KINDS, wanted[account_id], strict=True)}
            found = find_keys(account, values)
            keys = JSONText.of(sorted({*found.values()}))
            size += (measure_metadata(keys)["bytes"] or 0) if found else 0
            size += self._scratch.measure(account, values) if self._scratch else 0
            if size > _MAX_READ and len(rows) > 1:
                raise _TooLarge
            contacts = {each["pk"]: each for each in lock_by_keys(keys, self._scratch is None)} if found else {}
            if found and self._scratch is None and find_keys(account, values) != found:
                raise ConcurrentChange
            self._owners[account_id] = owners = {
                each: Owner(contacts[pk], contacts[pk][each.kind] == each.value)
                for each, pk in found.items()
                if pk in contacts
            }
            if self._scratch:
                self._scratch.overlay(account, owners, contacts, wanted[account_id])

    def _import(self, row: Row, said: Statement, count: int) -> str:
        account_id = self._account_of(row)
        fields = {name: value for name, value in row.fields.items() if name != "account_id"}
        matches = find_matches(self._owners[account_id], said)
        if not matches:
            self._create(account_id, fields, count)
            return "created"
        contact = matches[0][1]
        named = {_NAMES_OF_MATCHES.get(kind, kind): [f"Belongs to the contact {each['id']}."] for kind, each in matches}
        if self._options.on_match == "error" or any(each["pk"] != contact["pk"] for _, each in matches):
            raise _Rejected(named)
        if self._options.on_match == "skip":
            return "skipped"
        changes = _changes(contact, fields, self._owners[account_id], said)
        if changes:
            self._change(contact, changes)
        return "updated" if changes else "unchanged"

    def _create(self, account_id: str | None, fields: dict[str, Any], count: int) -> None:
        fields = with_consent(NOT_SAID, fields, "import", is_batch=True)
        contact = {**dict.fromkeys(_PUBLIC), **new_contact(account_id, fields, datetime.now(UTC))}
        contact |= {name: JSONText.of(contact[name]) for name in ("tags", "metadata")}
        if not self._new:
            self._keys = iter(self._scratch.next_keys(count) if self._scratch else database.next_keys("contact", count))
        contact["pk"] = next(self._keys)
        self._new[contact["pk"]] = contact
        self._own(contact, {})

    def _change(self, contact: dict[str, Any], changes: dict[str, Any]) -> None:
        replaced = {kind: contact[kind] for kind in IDENTIFIER_KINDS if kind in changes and contact[kind]}
        if contact["pk"] in self._new:
            self._insert_new()
        if self._scratch is None:
            self._changed += 1
            contact.update(change(contact, changes))
        else:
            contact.update({name: JSONText.of(value) if name == "tags" else value for name, value in changes.items()})
        self._own(contact, replaced)

    def _own(self, contact: dict[str, Any], replaced: dict[str, str]) -> None:
        """Remember what a contact is found by from now on."""
        owners = self._owners[contact["account_id"]]
        for kind, value in replaced.items():
            if kind in KEPT_KINDS:
                owners[Identifier(kind, value)] = Owner(contact, is_current=False)
            else:
                owners.pop(Identifier(kind, value), None)
        for kind in IDENTIFIER_KINDS:
            if contact[kind]:
                owners[Identifier(kind, contact[kind])] = Owner(contact, is_current=True)
        if self._scratch:
            self._scratch.store(contact["account_id"] or NO_ACCOUNT, contact, replaced)

    def _insert_new(self) -> None:
        contacts, self._new = [*self._new.values()], {}
        if contacts and not self._scratch:
            insert_contacts(contacts, self._on_wait)


def _changes(contact: dict[str, Any], fields: dict[str, Any], owners: Owners, said: Statement) -> dict[str, Any]:
    """What a row changes of its contact. Raises _Rejected, InvalidRequest, DocumentTooLarge."""
    changes: dict[str, Any] = {}
    for name, value in with_consent(contact, fields, "import", is_batch=True).items():
        if name == "tags":
            tags = changed_tags(contact["tags"], value, ())
            changes |= {} if tags is None else {"tags": tags}
        elif name == "metadata":
            # Null is a value here, or what was exported could not be imported again.
            document = bounded_document({**contact["metadata"].parsed(), **value})
            changes |= {} if document == contact["metadata"] else {"metadata": document}
        elif value == contact[name]:
            continue
        elif name == "external_id" and contact["external_id"]:
            raise _Rejected({name: [f"The contact {contact['id']} has another one, {contact['external_id']}."]})
        elif (name == "phone_number" and contact[name] in said.phone_forms) or (
            name in KEPT_KINDS and Identifier(name, value) in owners
        ):
            continue  # It is another way to write the number, or one that the contact had before.
        else:
            changes[name] = value
    return changes
