"""The API key that benchmarks send, created by the command line of the service."""

import os
import subprocess
import sys

from benchmarks.storage import ROOT

_SCOPES = ("contacts:read", "contacts:write", "contacts:delete")


def headers_for(url: str, account: str | None = None) -> dict[str, str]:
    """Create a key in the database, limited to the account if one is given, and return the header that sends it."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "keys", "create", "benchmark"]
    command += [part for scope in _SCOPES for part in ("--scope", scope)]
    command += ["--account", account] if account else []
    environment = {**os.environ, "DATABASE_URL": url}
    created = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    key = created.stdout.split()[-1]
    return {"Authorization": f"Bearer {key}"}
