"""The tables of how many contacts there are. Triggers of the database keep them, see migrations 0004 and 0006."""

from typing import Any

from peewee import SQL, BigIntegerField, CompositeKey, IntegerField, TextField, fn

from contacts_service.models.database import Table
from contacts_service.models.prepared import prepared

_NOBODY = "none"


class ContactCount(Table):
    """How many contacts an account has."""

    account = TextField()
    slot = IntegerField()  # An account has several, or writers would wait for one another; together they count.
    contacts = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("account", "slot")


class AssignedCount(Table):
    """How many contacts of an account a user looks after, or nobody."""

    assigned_to = TextField()
    account = TextField()
    slot = IntegerField()
    contacts = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("assigned_to", "account", "slot")


def count_contacts(accounts: list[str] | None) -> int:
    """Count the contacts of these accounts, NO_ACCOUNT standing for none, or with None all there are."""
    return int(_count(accounts)[0]["total"])


def count_assigned(user_id: str | None, accounts: list[str] | None) -> int:
    """Count those of them that a user looks after, or with None nobody."""
    return int(_count_assigned(user_id or _NOBODY, accounts)[0]["total"])


@prepared
def _count(accounts: Any) -> Any:
    return _sum(ContactCount, accounts)


@prepared
def _count_assigned(assigned_to: Any, accounts: Any) -> Any:
    return _sum(AssignedCount, accounts).where(AssignedCount.assigned_to == assigned_to)


def _sum(table: Any, accounts: Any) -> Any:
    query = table.select(fn.COALESCE(fn.SUM(table.contacts), SQL("0")).alias("total"))
    return query if accounts is None else query.where(table.account.in_(accounts))
