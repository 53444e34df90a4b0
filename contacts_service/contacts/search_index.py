"""The search index, as far as both databases have it in common.

Their indexes hold grams: for each place in a word the few characters that begin there. A term no longer than a gram is
the beginning of one; a longer term is looked up by grams that cover it, and rows are then compared with the term.
"""

from typing import Any, NamedTuple

from peewee import Node, NodeList

# About how many contacts there are: by the range of their keys, which may have gaps, or by the counters of accounts.
COUNT_ALL = "SELECT COALESCE((SELECT MAX(pk) FROM contact) - (SELECT MIN(pk) FROM contact) + 1, 0)"
COUNT_OF_ACCOUNTS = "SELECT COALESCE(SUM(contacts), 0) FROM contact_count WHERE account"


class IndexQuery(NamedTuple):
    """One alternative of a search, as the index is asked."""

    grams: str | None
    """The query of the index; None if rows are compared with all terms."""
    compared: list[str]
    """Terms that rows are compared with."""


class MatchCount(NamedTuple):
    """How many contacts match a search, and about how many there are in the same accounts."""

    matches: int
    contacts: int


class SearchIndex:
    """What the indexes of the two databases share."""

    max_gram: int
    """Characters of the longest gram."""

    def query_of(self, grams: list[str]) -> str:
        """Write the query for rows that have all of these grams."""
        raise NotImplementedError

    def insert(self, contacts: list[dict[str, Any]]) -> None:
        """Index contacts that were inserted together. By default a trigger has done it."""

    def indexed(self, terms: list[str]) -> IndexQuery:
        """Split the terms into a query of the index and those that rows are compared with."""
        compared = [term for term in terms if len(term) > self.max_gram]
        # The longest terms are the rarest.
        longest_first = sorted(terms, key=len, reverse=True)
        grams = [gram for term in longest_first for gram in grams_of(term, self.max_gram)]
        return IndexQuery(self.query_of(grams), compared)


def by_row(terms: list[str]) -> IndexQuery:
    """Compare rows with all terms."""
    return IndexQuery(None, terms)


def grams_of(term: str, max_gram: int) -> list[str]:
    """Cover a term by grams: itself, or if it is longer by grams of full length, the last two of which may overlap.

    >>> grams_of("annalena", 6), grams_of("anna", 6)
    (['annale', 'nalena'], ['anna'])
    """
    last = max(0, len(term) - max_gram)
    return [term[at : at + max_gram] for at in [*range(0, last, max_gram), last]]


def all_of(conditions: list[Any]) -> Node:
    """Join conditions by AND. Chained by & they nest, and a few hundred exceed Python's recursion limit in Peewee."""
    return NodeList(conditions, glue=" AND ", parens=True)
