"""Who calls: limits to the WhatsApp accounts of its key, and whom changes are made by."""

from collections.abc import Collection
from contextvars import ContextVar
from typing import Any

from contacts_service.errors import AccountForbidden

AllowedAccounts = frozenset[str] | None
"""Ids of the accounts that a caller may see; None for all accounts and for what belongs to no account."""


actor: ContextVar[str | None] = ContextVar("actor", default=None)
"""The name of the caller's key; None for a caller without key and for commands."""
on_behalf_of: ContextVar[str | None] = ContextVar("on_behalf_of", default=None)
"""Whom the caller acts for, as it says: a person, for example."""


def require_account(allowed_accounts: AllowedAccounts, account_id: str | None) -> None:
    """Raise AccountForbidden if the caller may not see this account; None stands for what belongs to no account."""
    if allowed_accounts is not None and account_id not in allowed_accounts:
        raise AccountForbidden


def of_account(column: Any, account_id: Any) -> Any:
    """Condition: a row belongs to this account, or with None to no account."""
    return column.is_null() if account_id is None else column == account_id


def of_accounts(column: Any, account_ids: Collection[Any]) -> Any:
    """Condition: a row belongs to one of these accounts."""
    # With = instead of IN, an index that begins with the account keeps its order.
    return column.in_(list(account_ids)) if len(account_ids) > 1 else column == next(iter(account_ids))


def limited_to(condition: Any, column: Any, allowed_accounts: Collection[Any] | None) -> Any:
    """Narrow a condition to rows of these accounts; ``column`` holds the account of a row."""
    return condition if allowed_accounts is None else condition & of_accounts(column, allowed_accounts)
