"""Reads the contacts that filters choose, in the order of their keys, which is that of their creation.

Few matches are looked up as a list does it. Of many, ranges of keys are read one after the other, and each contact is
compared with the filters: then no query takes longer than a range does, and none is repeated for each page.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from peewee import NodeList, Select

from contacts_service.contacts.filters import Filters, columns_of_filter, condition
from contacts_service.contacts.identifiers import measure_metadata
from contacts_service.contacts.list_planning import read_keys, read_page
from contacts_service.contacts.list_queries import UNREACHED, Names, Span
from contacts_service.contacts.search_index import by_row
from contacts_service.contacts.tables import ALL_COLUMNS, Contact
from contacts_service.db.database import database, reading
from contacts_service.db.fields import JSONText
from contacts_service.db.pages import PAGE_BYTES
from contacts_service.db.prepared import prepared

_MAX_LOOKED_UP = 100_000
PAGE = 500
Page = list[tuple[Any, ...]]
"""Contacts: the values of ALL_COLUMNS as the driver returns them."""
_RANGE = 20_000  # Keys that are compared at once.


def read_contacts(filters: Filters) -> tuple[int, Iterator[Page]]:
    """Count the contacts that match, and read them in pages that are bounded in bytes too. Runs queries."""
    total = read_page(filters, Span(1, None, None), "created")[0]
    names = filters.names
    if names and total <= _MAX_LOOKED_UP:
        keys = read_keys(filters, 0, total)[1] if total else []
        return total, _pages(iter([keys[start : start + PAGE] for start in range(0, len(keys), PAGE)]))
    compared = filters._replace(searches=[by_row(each) for each in filters.searches])
    return total, _pages(_ranges(compared, dict.fromkeys(sorted(names))))


def _ranges(filters: Filters, names: Names) -> Iterator[list[int]]:
    """Walk all keys, and yield those of contacts that match."""
    with reading():
        [(last,)] = database.execute_sql("SELECT COALESCE(MAX(pk), 0) FROM contact")
    size = _RANGE if names else PAGE
    for after in range(0, last, size):
        with reading():
            keys = [pk for (pk,) in _list_between(filters, names, after, min(after + size, last))]
        yield from (keys[start : start + PAGE] for start in range(0, len(keys), PAGE))


def _pages(chosen: Iterator[list[int]]) -> Iterator[Page]:
    for keys in chosen:
        left = keys
        while left:
            page, array = left, JSONText.of(left)
            with reading():
                if (measure_metadata(array)["bytes"] or 0) >= PAGE_BYTES:
                    sizes = dict(_list_sizes(array))
                    before = accumulate((sizes.get(key, 0) for key in left), initial=0)
                    page = [key for key, size in zip(left, before, strict=False) if size < PAGE_BYTES]
                rows = _list(JSONText.of(page))
            yield rows
            left = left[len(page) :]


@prepared(replan=True, raw=True)
def _list_between(filters: Filters, names: Names, after: Any, until: Any) -> Any:
    """Read the keys behind one and up to another, of contacts that match."""
    columns = dict.fromkeys([Contact.pk, *[each for name in names for each in columns_of_filter(name)]])
    near = Contact.select(*columns).where(Contact.pk > after, Contact.pk <= until).limit(UNREACHED).alias("near")
    keys = Select([near], [near.c.pk.alias("pk")]).order_by(near.c.pk).bind(database)
    return keys.where(*[condition(filters, name, near.c) for name in names]) if names else keys


@prepared(replan=True, raw=True)
def _list_sizes(keys: Any) -> Any:
    size = database.byte_length(Contact.metadata).alias("size")
    return Contact.select(Contact.pk, size).where(NodeList((Contact.pk, *database.keys_of(keys))))


@prepared(replan=True, raw=True)
def _list(keys: Any) -> Any:
    contacts = Contact.select(*ALL_COLUMNS).where(NodeList((Contact.pk, *database.keys_of(keys))))
    return contacts.order_by(Contact.pk)
