"""The table of contacts and the verbs on it."""

from datetime import datetime
from typing import Any

from peewee import (
    SQL,
    BigAutoField,
    BooleanField,
    Case,
    Check,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    IntegrityError,
    TextField,
)

from contacts_service.models.accounts import Accounts, within
from contacts_service.models.database import Table, database, locked
from contacts_service.models.fields import IdField, JSONTextField, OrderedTextField, TimeField
from contacts_service.models.prepared import Row, columns_of, first, prepared

# The recency of contacts without a message, which come after all others. It is never null, unlike last_message_at, so
# that both databases can begin a list at any place of their index.
NO_MESSAGE = "0001-01-01T00:00:00.000000Z"


class Contact(Table):
    pk = BigAutoField()  # FTS5 and foreign keys want a small integer; callers see only the id.
    id = IdField(unique=True)
    account_id = IdField(null=True)
    phone_number = TextField(
        null=True, constraints=[Check("substr(phone_number, 1, 1) = '+' AND length(phone_number) BETWEEN 8 AND 16")]
    )
    bsuid = TextField(null=True)
    username = TextField(null=True)
    name = TextField(null=True)
    profile_name = TextField(null=True)
    avatar_url = TextField(null=True)
    assigned_to = IdField(null=True)
    tags = JSONTextField()
    marketing_opt_out = BooleanField()
    metadata = JSONTextField()
    search_text = TextField()
    last_message_at = TimeField(null=True)
    recency = TimeField(constraints=[SQL(f"GENERATED ALWAYS AS (COALESCE(last_message_at, '{NO_MESSAGE}')) STORED")])
    last_message_key = OrderedTextField(null=True)  # Of messages of the same moment, which is the newest.
    last_message_preview = TextField(null=True)
    last_inbound_at = TimeField(null=True)
    unread_count = IntegerField()
    created_at = TimeField()
    updated_at = TimeField()
    version = IntegerField()

    class Meta:
        constraints = [Check("phone_number IS NOT NULL OR bsuid IS NOT NULL", "contact_identified")]


class ContactTag(Table):
    """Where a contact's tags are looked up; the contact has them as JSON too, in their order."""

    contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
    tag = TextField()

    class Meta:
        primary_key = CompositeKey("contact", "tag")


ContactTag.add_index(ContactTag.index(ContactTag.tag, ContactTag.contact, name="contact_tag_tag"))


class FormerBsuid(Table):
    """A bsuid that a contact had, for messages that come late under it. WhatsApp gives none out again."""

    key = TextField(primary_key=True)  # Account and bsuid.
    contact = ForeignKeyField(Contact, on_delete="CASCADE")


RECENT_ORDER = (Contact.recency.desc(), Contact.created_at.desc(), Contact.id)
CREATED_ORDER = (Contact.created_at, Contact.id)

_with_account, _without_account = Contact.account_id.is_null(False), Contact.account_id.is_null()
for _index in (
    Contact.index(*RECENT_ORDER, name="contact_recent"),
    Contact.index(Contact.account_id, *RECENT_ORDER, name="contact_account_recent"),
    Contact.index(Contact.assigned_to, *RECENT_ORDER, name="contact_assigned_recent"),
    Contact.index(*CREATED_ORDER, name="contact_created"),
    Contact.index(Contact.account_id, *CREATED_ORDER, name="contact_account_created"),
    # NULL equals nothing in a unique index, so contacts without account have indexes of their own.
    Contact.index(Contact.account_id, Contact.phone_number, unique=True, name="contact_account_phone").where(
        _with_account
    ),
    Contact.index(Contact.phone_number, unique=True, name="contact_phone").where(_without_account),
    Contact.index(Contact.account_id, Contact.bsuid, unique=True, name="contact_account_bsuid").where(_with_account),
    Contact.index(Contact.bsuid, unique=True, name="contact_bsuid").where(_without_account),
):
    Contact.add_index(_index)

Versions = list[int] | None
"""The versions that a contact may have for a write to happen; None for any."""
IDENTIFIERS = {"phone_number", "bsuid"}
SUMMARY = (
    Contact.id,
    Contact.phone_number,
    Contact.bsuid,
    Contact.username,
    Contact.name,
    Contact.profile_name,
    Contact.avatar_url,
    Contact.account_id,
    Contact.assigned_to,
    Contact.tags,
    Contact.marketing_opt_out,
    Contact.last_message_at,
    Contact.last_message_preview,
    Contact.last_inbound_at,
    Contact.unread_count,
    Contact.created_at,
    Contact.updated_at,
    Contact.version,
)
WHOLE = (*SUMMARY, Contact.metadata)
# What use cases know of a contact beyond what they answer.
INSIDE = (Contact.pk, Contact.last_message_key)


def insert_contact(values: Row) -> Row | None:
    """Store a contact and return it with what is inside; None when its account has the number or bsuid already."""
    return first(_insert(values))


@prepared
def _insert(values: Row) -> Any:
    new = Contact.insert(columns_of(Contact, values))
    return new.on_conflict("nothing").returning(*INSIDE, *WHOLE)


def get_contact(contact_id: str, accounts: Accounts) -> Row | None:
    return first(_get(contact_id, accounts))


@prepared
def _get(contact_id: Any, accounts: Any) -> Any:
    return Contact.select(*WHOLE).where(named(contact_id, accounts))


def lock_contact(contact_id: str, accounts: Accounts) -> Row | None:
    """Read a contact with what is inside, and keep others from writing to it until the transaction ends."""
    return first(_lock(contact_id, accounts))


@prepared
def _lock(contact_id: Any, accounts: Any) -> Any:
    return locked(Contact.select(*INSIDE, *WHOLE).where(named(contact_id, accounts)))


class IdentifierTaken(Exception):
    """Another contact of the account has the phone number or bsuid that this one was to get."""


def update_contact(
    contact_id: str, changes: Row, now: datetime, *, accounts: Accounts, expected: Versions = None
) -> Row | None:
    """Change the given columns, time and version, and return the contact whole.

    None when there is none, or its version is none of the expected ones. Raises IdentifierTaken.
    """
    if not changes.keys() & IDENTIFIERS:
        return first(_update(contact_id, accounts, expected, changes, now))
    try:
        with database.atomic():  # A savepoint: PostgreSQL can't go on behind a refused write without.
            return first(_update(contact_id, accounts, expected, changes, now))
    except IntegrityError as error:
        raise IdentifierTaken from error


@prepared
def _update(contact_id: Any, accounts: Any, expected: Any, changes: Row, now: Any) -> Any:
    # Who waited for a lock brings an older time than whoever held it.
    updated_at = Case(None, [(Contact.updated_at > now, Contact.updated_at)], now.of(Contact.updated_at))
    changes = {**columns_of(Contact, changes), "updated_at": updated_at, "version": Contact.version + 1}
    return Contact.update(changes).where(_expected(contact_id, accounts, expected)).returning(*WHOLE)


def replace_tags(contact_pk: int, tags: list[str]) -> None:
    """Make these the tags that a contact is found by."""
    ContactTag.delete().where(ContactTag.contact == contact_pk).execute()
    if tags:
        ContactTag.insert_many([{"contact": contact_pk, "tag": tag} for tag in tags]).execute()


def delete_contact(contact_id: str, *, accounts: Accounts, expected: Versions) -> bool:
    """Delete a contact; the schema takes everything of it along.

    False when there is none, or its version is none of the expected ones.
    """
    return bool(_delete(contact_id, accounts, expected))


@prepared
def _delete(contact_id: Any, accounts: Any, expected: Any) -> Any:
    return Contact.delete().where(_expected(contact_id, accounts, expected)).returning(Contact.id)


def named(contact_id: Any, accounts: Any) -> Any:
    """Make the condition for one contact, if it is of these accounts."""
    return within(Contact.id == contact_id, Contact.account_id, accounts)


def _expected(contact_id: Any, accounts: Any, versions: Any) -> Any:
    meant = named(contact_id, accounts)
    return meant if versions is None else meant & Contact.version.in_(versions)
