"""Kill the worker that imports, again and again: sent once more, the file ends as if it had never been disturbed.

PYTHONPATH=tests:. python tests/faults/kill_imports.py --kills 20
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from helpers.databases import KINDS, Databases
from helpers.service import Service, serve
from servers import workers

_ROWS = 20_000
# What differs from run to run: `updated_at` and `version` tell how often rows were imported.
_OWN = {"id", "created_at", "updated_at", "version", "marketing_opt_out_at"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    rng = random.Random(1)
    row = "+1555{0:07},K{0},name {1},{2}\n"
    body = "phone_number,external_id,name,marketing_opt_out\n"
    body += "".join(row.format(n % 15_000, n, "true" if n % 5 else "") for n in range(_ROWS))
    passed = True
    with tempfile.TemporaryDirectory(prefix="contacts-kills-") as folder:
        databases = Databases(Path(folder))
        for kind in KINDS:
            ends = []
            for kills in (0, options.kills):
                with serve(databases.create(kind), Path(folder), WEB_CONCURRENCY="1") as service:
                    for _ in range(kills):
                        _kill_in_the_middle(service, body.encode(), rng)
                    answer = _send(service, body.encode())
                    ends.append(_contacts(service))
                    print(
                        kind, kills, "kills:", {name: answer[name] for name in answer if name != "rejected"}, flush=True
                    )
            is_same = ends[0] == ends[1]
            print(kind, "the same" if is_same else "DIFFERENT", flush=True)
            passed &= is_same
    return 0 if passed else 1


def _kill_in_the_middle(service: Service, body: bytes, rng: random.Random) -> None:
    def send() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            _send(service, body)

    sending = threading.Thread(target=send)
    sending.start()
    time.sleep(rng.uniform(0.1, 3))
    for pid in workers(service):
        os.kill(pid, signal.SIGKILL)
    sending.join()


def _send(service: Service, body: bytes) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=600)
    connection.request("POST", "/api/contacts/import", body, {"Content-Type": "text/csv"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())["data"]
    connection.close()
    return answer


def _contacts(service: Service) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{service.url}/api/contacts/export?format=ndjson") as response:
        contacts = [json.loads(line) for line in response]
    return [{name: contact[name] for name in contact.keys() - _OWN} for contact in contacts]


if __name__ == "__main__":
    sys.exit(main())
