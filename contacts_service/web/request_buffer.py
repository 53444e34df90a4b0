"""Collects what a client sends until it is a whole request, so that no thread waits for the rest of one."""

import re

from contacts_service.settings import MAX_BODY_BYTES

_MAX_HEAD = 300_000  # More than gunicorn.conf.py lets request line and header fields have.
_MAX_CHUNKED = 2 * MAX_BODY_BYTES  # Of a chunked body, with the lines between its chunks.
_MAX_CHUNK_LINE = 4096
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)

STREAMED: set[bytes] = set()
"""Method and path of requests that are read as they come; blueprints add theirs."""


class RequestBuffer:
    """What was received of one request, and maybe of the next.

    It finds the end of the request and judges nothing: a mistake here makes the parser ask for bytes that it doesn't
    get, which is a bad request.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.expects_continue = False
        """Whether the client waits for 100 Continue before it sends the body."""
        self.is_streamed = False
        """Whether the rest of the body is to be read as it comes, if it isn't here already."""
        self._next = 0  # Where to look on: for the end of the head, then for the next chunk.
        self._end: int | None = None  # Of the request; None while it is unknown, or if the body is chunked.
        self._has_head = False

    def add(self, data: bytes) -> bool:
        """Add bytes. Returns whether the request is whole, or will be refused whatever follows."""
        self.data += data
        if not self._has_head:
            end = self.data.find(b"\r\n\r\n", max(0, self._next - 3))
            self._next = len(self.data)
            if end < 0:
                return self._is_no_head()
            self._read_head(end + 4)
        is_whole = self._has_last_chunk() if self._end is None else len(self.data) >= self._end
        if not is_whole and self.expects_continue and (expects := _EXPECTS.search(self.data)):
            start, end = expects.span()
            del self.data[start:end]  # The parser would answer it again.
            self._next -= end - start
            self._end = None if self._end is None else self._end - (end - start)
        return is_whole

    def _is_no_head(self) -> bool:
        is_other_protocol = not self.data[:1].isalpha() and self.data[:1] != b"\r"  # Such as TLS.
        has_bare_lf = self.data.count(b"\n") != self.data.count(b"\r\n")
        return is_other_protocol or has_bare_lf or len(self.data) > _MAX_HEAD

    def _read_head(self, end: int) -> None:
        self._has_head, self._next = True, end
        head = bytes(self.data[: end - 2])
        is_chunked = _CHUNKED.search(head) is not None
        length = int(found[1]) if not is_chunked and (found := _LENGTH.search(head)) else 0
        if head[: head.find(b" HTTP/")].partition(b"?")[0] in STREAMED and (is_chunked or length > MAX_BODY_BYTES):
            self.is_streamed, self._end = True, end
            return
        if not is_chunked:
            self._end = end + (length if length <= MAX_BODY_BYTES else 0)  # A larger body is refused unread.
        is_http_1_0 = b" HTTP/1.0\r\n" in head
        self.expects_continue = not is_http_1_0 and _EXPECTS.search(head) is not None

    def _has_last_chunk(self) -> bool:
        """Follow the chunks (RFC 9112, section 7.1) as far as they were received."""
        while (line_end := self.data.find(b"\r\n", self._next)) >= 0:
            try:
                size = int(self.data[self._next : line_end].partition(b";")[0], 16)
            except ValueError:
                return True
            if size <= 0:
                return self.data.find(b"\r\n\r\n", line_end) >= 0 or len(self.data) - line_end > _MAX_HEAD
            self._next = line_end + 2 + size + 2
        return len(self.data) > _MAX_CHUNKED or len(self.data) - self._next > _MAX_CHUNK_LINE
