"""Fills the tables that follow from the contacts, when these were stored without the triggers that do it."""

from contacts_service.db.database import database

COUNTS = """
INSERT INTO contact_count (account, slot, contacts, unassigned)
SELECT COALESCE(CAST(account_id AS text), 'none'), 0, COUNT(*), COUNT(*) - COUNT(assigned_to)
FROM contact GROUP BY account_id
"""
SEARCH = {
    "sqlite": "INSERT INTO contact_search (contact_search) VALUES ('rebuild')",
    "postgresql": "INSERT INTO contact_search (contact_id, account_id, search_text)"
    " SELECT pk, account_id, search_text FROM contact ORDER BY pk",
}


def fill_counts() -> None:
    """Count the contacts of each account. Slots are not copied, as SQLite has one and PostgreSQL many."""
    database.execute_sql(COUNTS)


def fill_search_index() -> None:
    database.execute_sql(SEARCH[database.kind])
