"""Finding contacts by what identifies them."""

from functools import reduce
from operator import or_
from typing import Any

from contacts_service.models.accounts import of_account
from contacts_service.models.contacts import INSIDE, WHOLE, Contact, FormerBsuid
from contacts_service.models.database import locked
from contacts_service.models.prepared import Row, columns_of, first, prepared


def find_by_identifiers(
    account_id: str | None, *, phone_numbers: list[str], bsuids: list[str], lock: bool = False
) -> list[Row]:
    """Find the contacts of an account that have one of the phone numbers or bsuids, with what is inside.

    With ``lock`` nobody else changes them until the transaction ends.
    """
    if not phone_numbers and not bsuids:
        return []
    return (_lock_by_identifiers if lock else _find_by_identifiers)(account_id, phone_numbers, bsuids)


def _by_identifiers(account_id: Any, phone_numbers: list[Any], bsuids: list[Any]) -> Any:
    # The account stands in each alternative, and empty ones are left out, or SQLite would read the whole account.
    of = of_account(Contact.account_id, account_id)
    given = ((Contact.phone_number, phone_numbers), (Contact.bsuid, bsuids))
    alternatives = [of & column.in_(values) for column, values in given if values]
    return Contact.select(*INSIDE, *WHOLE).where(reduce(or_, alternatives)).order_by(Contact.pk)


_find_by_identifiers = prepared(_by_identifiers)
_lock_by_identifiers = prepared(lambda *arguments: locked(_by_identifiers(*arguments)))


def remember_former_bsuid(contact: Row, bsuid: str) -> None:
    """Remember that this was a contact's bsuid."""
    _remember({"key": f"{contact['account_id']}/{bsuid}", "contact": contact["pk"]})


@prepared
def _remember(values: Row) -> Any:
    former = FormerBsuid.insert(columns_of(FormerBsuid, values))
    return former.on_conflict(conflict_target=[FormerBsuid.key], preserve=[FormerBsuid.contact])


def find_by_former_bsuid(account_id: str | None, bsuid: str | None) -> Row | None:
    """Find the contact that had this bsuid, with what is inside, and keep others from writing to it."""
    return None if bsuid is None else first(_find_by_former_bsuid(f"{account_id}/{bsuid}"))


@prepared
def _find_by_former_bsuid(key: Any) -> Any:
    owner = FormerBsuid.select(FormerBsuid.contact).where(FormerBsuid.key == key)
    return locked(Contact.select(*INSIDE, *WHOLE).where(Contact.pk == owner))
