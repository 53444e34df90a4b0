"""The search index on SQLite: an FTS5 table of grams, see the initial migration."""

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

_ACCOUNT_MARK = "\u00a0"  # In front of the account among the grams; no search text holds this character.


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
        database.copy_rows("contact_search", ("rowid", "grams"), rows)

    def count(self, searches: list[IndexQuery], account_ids: list[str] | None) -> MatchCount | None:
        """Count the contacts that match any of the searches, in the index alone; None if rows have to be compared."""
        if any(search.compared for search in searches):
            return None
        query = " OR ".join([f"({search.grams})" for search in searches])
        contacts = COUNT_ALL
        if account_ids is not None:
            accounts = " OR ".join([_quoted(_ACCOUNT_MARK + account_id) for account_id in account_ids])
            query = f"({accounts}) AND ({query})"
            contacts = f"{COUNT_OF_ACCOUNTS} IN ({', '.join('?' * len(account_ids))})"
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
