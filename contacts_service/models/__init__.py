"""Tables, connection, migrations: everything that knows SQL.

One module a noun holds its table and the verbs on it; ``backends`` holds every difference between the databases.
"""
