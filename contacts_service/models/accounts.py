"""Which accounts a caller sees and touches things of."""

from typing import Any

Accounts = frozenset[str] | None
"""The ids of the accounts; None for all of them, and for what belongs to none."""


def of_account(column: Any, account_id: str | None) -> Any:
    """Make the condition that a row belongs to this account, or with None to none."""
    return column == account_id if account_id else column.is_null()


def of_accounts(column: Any, accounts: frozenset[str]) -> Any:
    """Make the condition that a row belongs to one of these accounts."""
    # With one account alone an index by account keeps its order.
    return column == min(accounts) if len(accounts) == 1 else column.in_(sorted(accounts))


def within(condition: Any, column: Any, accounts: Accounts) -> Any:
    """Narrow a condition to rows of these accounts; ``column`` says whose a row is."""
    return condition if accounts is None else condition & of_accounts(column, accounts)
