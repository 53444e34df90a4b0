"""Which accounts a caller sees and touches things of."""

from collections.abc import Collection
from typing import Any

Accounts = frozenset[str] | None
"""The ids of the accounts; None for all of them, and for what belongs to none."""


def of_account(column: Any, account_id: Any) -> Any:
    """Make the condition that a row belongs to this account, or with None to none."""
    return column.is_null() if account_id is None else column == account_id


def of_accounts(column: Any, accounts: Collection[Any]) -> Any:
    """Make the condition that a row belongs to one of these accounts."""
    # With one account alone an index by account keeps its order.
    return column.in_(list(accounts)) if len(accounts) > 1 else column == next(iter(accounts))


def within(condition: Any, column: Any, accounts: Collection[Any] | None) -> Any:
    """Narrow a condition to rows of these accounts; ``column`` says whose a row is."""
    return condition if accounts is None else condition & of_accounts(column, accounts)
