"""The queries of requests."""

import logging

from playhouse import test_utils


class count_queries(test_utils.count_queries):  # noqa: N801 - It stands for Peewee's own.
    """Peewee's, without the query by which the keyring renews its copy: it depends on the clock."""

    def get_queries(self) -> list[logging.LogRecord]:
        return [record for record in super().get_queries() if '"api_key"' not in record.msg[0]]

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.count = len(self.get_queries())
