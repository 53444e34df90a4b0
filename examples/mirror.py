"""Keeps a copy of all contacts in a SQLite file in step, as a warehouse or a CRM would.

    CONTACTS_KEY=... python3 examples/mirror.py http://127.0.0.1:8000 mirror.db [--once]

It may be killed at any time: the items of a page and the token that leads on are stored in one transaction.
"""

import json
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus

# A walk from the beginning has a number, so that contacts which it didn't show can be deleted at its end.
TABLES = """
CREATE TABLE IF NOT EXISTS contact (id TEXT PRIMARY KEY, phone_number TEXT, name TEXT, whole TEXT, walk INTEGER);
CREATE TABLE IF NOT EXISTS progress (token TEXT, walk INTEGER);
INSERT INTO progress SELECT NULL, 1 WHERE NOT EXISTS (SELECT * FROM progress);
"""


def read_page(url, token):
    """Read what comes after a token; None if the walk has to begin again."""
    query = urllib.parse.urlencode({"limit": 500, **({"after": token} if token else {})})
    headers = {"X-API-Key": os.environ["CONTACTS_KEY"]} if "CONTACTS_KEY" in os.environ else {}
    while True:
        try:
            request = urllib.request.Request(f"{url}/api/changes?{query}", headers=headers)
            with urllib.request.urlopen(request, timeout=60) as response:  # nosec B310
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.GONE:
                return None
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            time.sleep(float(error.headers["Retry-After"]))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(1)


def apply(copy, item, walk):
    if item["deleted"]:
        copy.execute("DELETE FROM contact WHERE id = ?", [item["id"]])
    else:
        contact = item["contact"]
        row = [item["id"], contact["phone_number"], contact["name"], json.dumps(contact), walk]
        copy.execute("REPLACE INTO contact VALUES (?, ?, ?, ?, ?)", row)


def main(url, file, *options):
    copy = sqlite3.connect(file)
    copy.executescript(TABLES)
    while True:
        [(token, walk)] = copy.execute("SELECT token, walk FROM progress")
        page = read_page(url, token)
        with copy:
            if page is None:
                copy.execute("UPDATE progress SET token = NULL, walk = walk + 1")
                continue
            for item in page["items"]:
                apply(copy, item, walk)
            copy.execute("UPDATE progress SET token = ?", [page["next"]])
            if not page["has_more"]:
                copy.execute("DELETE FROM contact WHERE walk < ?", [walk])
        if not page["has_more"]:
            if "--once" in options:
                return
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
