"""The table of how many contacts each account has. Triggers of the database keep it, see migration 0004."""

from typing import Any

from peewee import BigIntegerField, CompositeKey, IntegerField, TextField, fn

from contacts_service.models.accounts import Accounts
from contacts_service.models.conditions import NO_ACCOUNT
from contacts_service.models.database import Table
from contacts_service.models.prepared import prepared


class ContactCount(Table):
    account = TextField()
    slot = IntegerField()  # An account has several, or writers would wait for one another; together they count.
    contacts = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("account", "slot")


def count_of(account_id: str | None) -> int:
    """Count the contacts of an account, or of none."""
    return int(_count([account_id or NO_ACCOUNT])[0]["total"])


def count_all(accounts: Accounts) -> int:
    """Count the contacts of these accounts, or with None all there are."""
    return int(_count(accounts)[0]["total"])


@prepared
def _count(accounts: Any) -> Any:
    query = ContactCount.select(fn.COALESCE(fn.SUM(ContactCount.contacts), 0).alias("total"))
    return query if accounts is None else query.where(ContactCount.account.in_(accounts))
