"""What gunicorn writes for each request, at less cost. See docs/decisions/served-path.md."""

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn import glogging
from gunicorn.http import wsgi

from contacts_service.web.observability import DATA_HEADERS

_CONSTANT = {*DATA_HEADERS, ("Content-Type", "application/json")}


class Logger(glogging.Logger):
    """gunicorn's logger without access records: it would make one of each request, and the service logs its own."""

    def access(self, *_: Any) -> None:
        pass


class Response(wsgi.Response):
    """A response that is sent by one system call in one packet, if it is one piece."""

    headers_sent: bool

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Check the headers, but not again those that are always the same: 3 of 6 µs."""
        super().process_headers([each for each in headers if each not in _CONSTANT])
        self.headers += [each for each in headers if each in _CONSTANT]

    def write(self, data: bytes) -> None:
        if self.headers_sent or self._omits_body or self.response_length != len(data):
            super().write(data)
            return
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        head = "".join([*self.default_headers(), fields, "\r\n"])
        self.headers_sent, self.sent = True, len(data)
        self.sock.sendall(head.encode("latin-1") + data)


def http_date() -> str:
    """The header Date of this moment; gunicorn formats it again for each response."""
    return _http_date(int(time.time()))


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)
