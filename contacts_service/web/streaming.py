"""Bodies that are read or written as they come. Each holds a thread, so only half of the threads may do so."""

import io
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter

from flask import Request, Response, current_app
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestTimeout

from contacts_service.errors import InvalidRequest, PayloadTooLarge, TooManyStreams
from contacts_service.web.auth import authenticate
from contacts_service.web.observability import ServiceResponse

_CHECKED_EVERY = 1.0  # Seconds.


@contextmanager
def stream_slot() -> Iterator[None]:
    """Hold one of the slots for the streams of a process. Raises TooManyStreams."""
    free: threading.Semaphore = current_app.extensions["stream_slots"]
    if not free.acquire(blocking=False):
        raise TooManyStreams
    try:
        yield
    finally:
        free.release()


def streamed(chunks: Iterable[bytes], content_type: str) -> Response:
    """A response that is written as it is made, and holds a slot until it ends. Raises TooManyStreams."""
    slot = ExitStack()
    slot.enter_context(stream_slot())

    def until_end() -> Iterator[bytes]:
        with slot:
            yield from chunks

    response = ServiceResponse(until_end(), content_type=content_type)
    response.call_on_close(slot.close)
    return response


class BodyStream(io.RawIOBase):
    """The body of a request as it comes.

    Reading raises InvalidRequest if it breaks off, PayloadTooLarge beyond the limit, werkzeug's RequestTimeout if the
    client is too slow, and what ``authenticate`` raises if the key was revoked meanwhile.
    """

    def __init__(self, request: Request, limit: int) -> None:
        self._request, self._limit = request, limit
        self._input = request.environ["wsgi.input"]
        self._received = 0
        self._checked = perf_counter()
        if (request.content_length or 0) > limit:
            raise _too_large(limit)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = self._request.content_length
        size = len(buffer) if length is None else min(len(buffer), length - self._received)
        try:
            data = self._input.read(size) if size else b""
        except TimeoutError as error:
            raise RequestTimeout from error
        except (OSError, ParseException) as error:  # What gunicorn raises for broken chunks.
            raise _broken_off() from error
        if size and not data and length is not None:
            raise _broken_off()
        self._received += len(data)
        if self._received > self._limit:
            raise _too_large(self._limit)
        if perf_counter() - self._checked > _CHECKED_EVERY:
            self._checked = perf_counter()
            authenticate(self._request)
        buffer[: len(data)] = data
        return len(data)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"{limit:,} bytes")


def _broken_off() -> InvalidRequest:
    return InvalidRequest({"body": ["The body can't be read to its end."]})
