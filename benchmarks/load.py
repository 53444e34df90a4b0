"""Sends requests over kept connections and tells how long the answers took.

``python -m benchmarks.load HOST PORT SECONDS CONNECTIONS < requests``, a process of its own, so that it takes nothing
from the interpreter of the server. ``requests`` is JSON: a list of requests as they go over the wire, sent in turn.
Prints JSON: how many answers in how many seconds, their sorted latencies in seconds, and how many were refused
because the server could not.
"""

import selectors
import socket
import sys
import time
from typing import cast

import orjson

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


def load(address: tuple[str, int], seconds: float, connections: int, requests: list[bytes]) -> dict[str, object]:
    """Keep every connection busy with one request after the other."""
    selector = selectors.DefaultSelector()
    sent_at: dict[socket.socket, float] = {}
    received: dict[socket.socket, bytes] = {}
    latencies: list[float] = []
    refused = turn = 0

    def send(connection: socket.socket) -> None:
        nonlocal turn
        received[connection] = b""
        sent_at[connection] = time.perf_counter()
        connection.sendall(requests[turn % len(requests)])
        turn += 1

    began = time.perf_counter()
    for _ in range(connections):
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        send(connection)
    took = 0.0
    while selector.get_map():
        for key, _ in selector.select():
            connection = cast(socket.socket, key.fileobj)
            part = connection.recv(1 << 18)
            received[connection] += part
            if not part:
                raise ConnectionError(f"the server hung up after {received[connection][:200]!r}")
            if not _is_whole(received[connection]):
                continue
            could = not received[connection].startswith(b"HTTP/1.1 5")
            refused += not could
            # The last answers aren't counted but waited for, or their work would weigh on whoever is next.
            if took or (elapsed := time.perf_counter() - began) > seconds:
                took = took or elapsed
                selector.unregister(connection)
                connection.close()
            else:
                if could:
                    latencies.append(time.perf_counter() - sent_at[connection])
                send(connection)
    return {"answers": len(latencies), "seconds": took, "latencies": sorted(latencies), "refused": refused}


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(_END_OF_HEAD)
    if not end:
        return False
    if head[9:10] not in b"25":
        raise ValueError(f"no success: {answer[:500]!r}")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH))
    return len(body) >= int(length.removeprefix(_LENGTH))


if __name__ == "__main__":
    host, port, for_seconds, at_once = sys.argv[1:]
    given = [request.encode() for request in orjson.loads(sys.stdin.buffer.read())]
    sys.stdout.buffer.write(orjson.dumps(load((host, int(port)), float(for_seconds), int(at_once), given)))
