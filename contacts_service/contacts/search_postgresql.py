"""The search index on PostgreSQL: a GIN index of grams on the table contact_search, see the initial migration."""

from typing import Any

from peewee import SQL, Node, NodeList, fn

from contacts_service.contacts.search_index import (
    COUNT_ALL,
    COUNT_OF_ACCOUNTS,
    IndexQuery,
    MatchCount,
    SearchIndex,
    all_of,
)
from contacts_service.contacts.tables import NO_ACCOUNT
from contacts_service.db.database import database

_MIN_PREFIX = 3  # Shorter grams are in the index as they are, marked by a space; from here on they are prefixes.
_HAS_GRAMS = "contact_grams(search_text) @@ CAST(%s AS tsquery)"
_HAS_TERM = "STRPOS(search_text, %s) > 0"


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
        contacts = COUNT_ALL
        if account_ids is not None:
            contacts = f"{COUNT_OF_ACCOUNTS} = ANY(%s)"
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
