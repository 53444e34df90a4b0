"""The search index of each database: an FTS5 table on SQLite, a GIN index on PostgreSQL. See the initial migration.

Both hold grams: for each place in a word the few characters that begin there. A term no longer than a gram is the
beginning of one; a longer term is looked up by grams that cover it, and rows are then compared with the term.
"""

from typing import Any, NamedTuple

from peewee import SQL, Node, NodeList, fn

from contacts_service.contacts.tables import NO_ACCOUNT
from contacts_service.db.database import database

# About how many contacts there are: by the range of their keys, which may have gaps, or by the counters of accounts.
_COUNT_ALL = "SELECT COALESCE((SELECT MAX(pk) FROM contact) - (SELECT MIN(pk) FROM contact) + 1, 0)"
_COUNT_OF_ACCOUNTS = "SELECT COALESCE(SUM(contacts), 0) FROM contact_count WHERE account"
_ACCOUNT_MARK = "\u00a0"  # In front of the account among the grams; no search text holds this character.
_MIN_PREFIX = 3  # Shorter grams are in the index as they are, marked by a space; from here on they are prefixes.
_HAS_GRAMS = "contact_grams(search_text) @@ CAST(%s AS tsquery)"
_HAS_TERM = "STRPOS(search_text, %s) > 0"


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


class SqliteSearchIndex(SearchIndex):
    max_gram = 12

    def query_of(self, grams: list[str]) -> str:
        return " AND ".join(_quoted(gram) + ("*" if len(gram) < self.max_gram else "") for gram in grams)

    def insert(self, contacts: list[dict[str, Any]]) -> None:
        """Write the grams that the view contact_grams shows of each contact.

        Made here they take 181 µs of CPU for a row of an import, read from the view 218 (10,000 rows in memory).
        """
        rows = []
        for contact in contacts:
            words = contact["search_text"].replace("\n", " ").split(" ")
            grams = [word[at : at + self.max_gram] for word in words for at in range(len(word))]
            account = _ACCOUNT_MARK + (contact["account_id"] or NO_ACCOUNT)
            rows.append((contact["pk"], " ".join([account, *grams])))
        database.insert_rows("contact_search", ("rowid", "grams"), rows)

    def count(self, searches: list[IndexQuery], account_ids: list[str] | None) -> MatchCount | None:
        """Count the contacts that match any of the searches, in the index alone; None if rows have to be compared."""
        if any(search.compared for search in searches):
            return None
        query = " OR ".join([f"({search.grams})" for search in searches])
        contacts = _COUNT_ALL
        if account_ids is not None:
            accounts = " OR ".join([_quoted(_ACCOUNT_MARK + account_id) for account_id in account_ids])
            query = f"({accounts}) AND ({query})"
            contacts = f"{_COUNT_OF_ACCOUNTS} IN ({', '.join('?' * len(account_ids))})"
        # The SQL is all our own; what callers send are parameters.
        sql = f"SELECT COUNT(*), ({contacts}) FROM contact_search WHERE contact_search MATCH ?"  # noqa: S608  # nosec B608
        return MatchCount(*database.execute_sql(sql, (*(account_ids or ()), query)).fetchone())

    def condition(self, pk: Any, search_text: Any, search: IndexQuery, tagged: Any = None) -> Node:
        """Condition: a contact matches the search, and its key is one of the ``tagged`` subquery."""
        conditions: list[Any] = [fn.INSTR(search_text, term) > 0 for term in search.compared]
        if search.grams is not None:
            rows = (SQL("(SELECT rowid FROM contact_search WHERE contact_search MATCH"), search.grams, SQL(")"))
            conditions.insert(0, NodeList((pk, SQL("IN"), NodeList(rows))))
        if tagged is not None:
            conditions.insert(0, pk.in_(tagged))
        return all_of(conditions)


def _quoted(token: str) -> str:
    return '"' + token.replace('"', '""') + '"'


class PostgresqlSearchIndex(SearchIndex):
    max_gram = 6

    def query_of(self, grams: list[str]) -> str:
        return " & ".join(_lexeme(gram, self.max_gram) for gram in grams)

    def count(self, searches: list[IndexQuery], account_ids: list[str] | None) -> MatchCount:
        """Count the contacts that match any of the searches."""
        matches: list[str] = []  # The SQL is all our own; what callers send are parameters.
        parameters: list[Any] = []
        for search in searches:
            tests = [_HAS_GRAMS] * (search.grams is not None) + [_HAS_TERM] * len(search.compared)
            parameters += [search.grams] * (search.grams is not None) + search.compared
            if account_ids is not None:
                tests.append(f"COALESCE(CAST(account_id AS text), '{NO_ACCOUNT}') = ANY(%s)")
                parameters.append(account_ids)
            matches.append(f"SELECT contact_id FROM contact_search WHERE {' AND '.join(tests)}")  # noqa: S608  # nosec B608
        contacts = _COUNT_ALL
        if account_ids is not None:
            contacts = f"{_COUNT_OF_ACCOUNTS} = ANY(%s)"
            parameters = [account_ids, *parameters]
        # A union: with OR PostgreSQL would make the grams of each row again to find out which alternative it matches.
        sql = f"SELECT COUNT(*), ({contacts}) FROM ({' UNION '.join(matches)}) AS found"  # noqa: S608  # nosec B608
        count, total = database.execute_sql(sql, parameters).fetchone()
        return MatchCount(count, int(total))

    def condition(self, pk: Any, search_text: Any, search: IndexQuery, tagged: Any = None) -> Node:
        """Condition: a contact matches the search, and its key is one of the ``tagged`` subquery."""
        conditions: list[Any] = [fn.STRPOS(search_text, term) > 0 for term in search.compared]
        if search.grams is None:
            return all_of(conditions if tagged is None else [pk.in_(tagged), *conditions])
        # As an array: of a subquery the planner expects too many rows, and of a few rows of an array it would look each
        # up among the tagged. So the tagged are intersected within the array.
        found = (
            SQL("(ARRAY(SELECT contact_id FROM contact_search WHERE contact_grams(search_text) @@ CAST("),
            search.grams,
            SQL("AS tsquery)"),
        )
        narrowed = () if tagged is None else (SQL("INTERSECT"), tagged)
        keys = NodeList((*found, *narrowed, SQL("))")))
        return all_of([NodeList((pk, SQL("= ANY"), keys)), *conditions])


def _lexeme(gram: str, max_gram: int) -> str:
    escaped = gram.replace("\\", r"\\").replace("'", "''")
    if len(gram) < _MIN_PREFIX:
        return f"' {escaped}'"
    return f"'{escaped}'" if len(gram) == max_gram else f"'{escaped}':*"


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


INDEXES: dict[str, SqliteSearchIndex | PostgresqlSearchIndex] = {
    "sqlite": SqliteSearchIndex(),
    "postgresql": PostgresqlSearchIndex(),
}
