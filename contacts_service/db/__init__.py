"""Database plumbing that names no table: connections, field types, prepared queries, migrations.

``sqlite`` and ``postgresql`` hold the differences between the two databases under the same names.
"""
