"""The change feed, by which a reader keeps a copy of all contacts in step."""
