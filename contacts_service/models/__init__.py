"""Tables, connection, migrations: everything that knows SQL.

One module a noun holds its table and the verbs on it; ``sqlite`` and ``postgresql`` hold every difference between the
two databases under the same names.
"""
