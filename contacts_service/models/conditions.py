"""What the two databases' search conditions share.

Their indexes hold grams: of each place in a word the few characters that begin there. A term that is no longer than a
gram is the beginning of one; a longer term is looked up by grams that cover it, and rows are compared with it.
"""

from collections.abc import Callable
from typing import Any

from peewee import Node, NodeList

GRAMS = "grams"  # The key of a query of the index, among those of terms to compare.
# Terms of a search that are looked up; rows are compared with all others. Each costs the database a list of matches.
_MOST_INDEXED = 8
NO_ACCOUNT = "none"  # Stands for the contacts of no account where those of accounts have its id.
# Of how many contacts those are that match: of all by their keys, which may have gaps, or of accounts.
AMONG_ALL = "SELECT COALESCE((SELECT MAX(pk) FROM contact) - (SELECT MIN(pk) FROM contact) + 1, 0)"
AMONG_ACCOUNTS = "SELECT COALESCE(SUM(contacts), 0) FROM contact_count WHERE account"


def search_values(
    terms: list[str], *, by_row: bool, longest_gram: int, query: Callable[[list[str]], str]
) -> dict[str, str]:
    """Split terms into a query of the index and those that rows are compared with, or with ``by_row`` compare all."""
    if by_row:
        return _compared(terms)
    # The longest are the rarest.
    indexed = sorted(terms, key=len, reverse=True)[:_MOST_INDEXED]
    left = [term for term in terms if len(term) > longest_gram or term not in indexed]
    return {GRAMS: query(indexed), **_compared(left)}


def _compared(terms: list[str]) -> dict[str, str]:
    return {f"compared {number}": term for number, term in enumerate(terms)}


def grams_of(term: str, longest: int) -> list[str]:
    """Cover a term by grams: itself, or if it is longer all of full length, the last two of which may overlap.

    >>> grams_of("annalena", 6), grams_of("anna", 6)
    (['annale', 'nalena'], ['anna'])
    """
    last = max(0, len(term) - longest)
    return [term[at : at + longest] for at in [*range(0, last, longest), last]]


def matching(values: dict[str, Any], *, found: Callable[[Any], Node], has: Callable[[Any], Node]) -> Node:
    """Join the conditions of one search: ``found`` by its query of the index, and ``has`` each term to compare."""
    return all_of([found(value) if kind == GRAMS else has(value) for kind, value in values.items()])


def all_of(conditions: list[Node]) -> Node:
    """Join conditions by AND. Chained by & they would nest, and Peewee's recursion would end at a few hundred."""
    return NodeList(conditions, glue=" AND ", parens=True)
