"""Who calls, and what of."""

from dataclasses import dataclass

from contacts_service.errors import AccountForbidden, ScopeMissing
from contacts_service.models.accounts import Accounts

SCOPES = ("contacts:read", "contacts:write", "contacts:delete")


@dataclass(frozen=True)
class Caller:
    """Whoever makes a request, as its key tells."""

    prefix: str | None
    """The public part of the key; None for a caller without key on the same machine."""
    name: str | None
    scopes: frozenset[str]
    accounts: Accounts

    def require(self, scope: str) -> None:
        """Raises ScopeMissing."""
        if scope not in self.scopes:
            raise ScopeMissing(scope)


LOCAL_CALLER = Caller(prefix=None, name=None, scopes=frozenset(SCOPES), accounts=None)


def require_account(accounts: Accounts, account_id: str | None) -> None:
    """Refuse a request that names an account which its caller has nothing to do with. Raises AccountForbidden.

    None is what belongs to no account. Only callers without limit have to do with that.
    """
    if accounts is not None and account_id not in accounts:
        raise AccountForbidden
