"""Sends requests over persistent connections and measures the latencies.

``python -m benchmarks.load HOST PORT SECONDS CONNECTIONS < requests`` is a process of its own, so that it shares no
interpreter with the server. ``requests`` is a JSON list of raw HTTP requests, which are sent in turn. The output is
JSON: the number of responses, the seconds, the sorted latencies, and the number of 5xx responses as ``refused``.
"""

import selectors
import socket
import sys
import time
from typing import cast

import orjson

_END_OF_HEAD = b"\r\n\r\n"
_CONTENT_LENGTH = b"content-length:"


def load(address: tuple[str, int], seconds: float, connections: int, requests: list[bytes]) -> dict[str, object]:
    """Keep every connection busy with one request at a time."""
    selector = selectors.DefaultSelector()
    sent_at: dict[socket.socket, float] = {}
    received: dict[socket.socket, bytes] = {}
    latencies: list[float] = []
    refused = sent = 0

    def send(connection: socket.socket) -> None:
        nonlocal sent
        received[connection] = b""
        sent_at[connection] = time.perf_counter()
        connection.sendall(requests[sent % len(requests)])
        sent += 1

    start = time.perf_counter()
    for _ in range(connections):
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        send(connection)
    total = 0.0
    while selector.get_map():
        for key, _ in selector.select():
            connection = cast(socket.socket, key.fileobj)
            part = connection.recv(1 << 18)
            received[connection] += part
            if not part:
                raise ConnectionError(f"the server closed the connection after {received[connection][:200]!r}")
            if not _is_complete(received[connection]):
                continue
            is_refused = received[connection].startswith(b"HTTP/1.1 5")
            refused += is_refused
            # Responses after the end are awaited but not counted, so that they don't slow down the next measurement.
            if total or (elapsed := time.perf_counter() - start) > seconds:
                total = total or elapsed
                selector.unregister(connection)
                connection.close()
            else:
                if not is_refused:
                    latencies.append(time.perf_counter() - sent_at[connection])
                send(connection)
    return {"responses": len(latencies), "seconds": total, "latencies": sorted(latencies), "refused": refused}


def _is_complete(response: bytes) -> bool:
    head, end, body = response.partition(_END_OF_HEAD)
    if not end:
        return False
    if head[9:10] not in b"25":
        raise ValueError(f"unexpected status: {response[:500]!r}")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(_CONTENT_LENGTH))
    return len(body) >= int(length.removeprefix(_CONTENT_LENGTH))


def main() -> None:
    host, port, seconds, connections = sys.argv[1:]
    requests = [request.encode() for request in orjson.loads(sys.stdin.buffer.read())]
    sys.stdout.buffer.write(orjson.dumps(load((host, int(port)), float(seconds), int(connections), requests)))


if __name__ == "__main__":
    main()
