"""The API key that benchmarks send, where the service knows keys."""

import os
import re
import subprocess
import sys

from benchmarks.storage import ROOT

_SCOPES = ("contacts:read", "contacts:write", "contacts:delete")


def headers_for(url: str) -> dict[str, str]:
    """Make a key in the database and the header that sends it; nothing where the service has no keys."""
    flask = [sys.executable, "-m", "flask", "--app", "wsgi", "keys"]
    environment = {**os.environ, "DATABASE_URL": url}
    if subprocess.run([*flask, "--help"], cwd=ROOT, env=environment, capture_output=True, check=False).returncode:
        return {}
    scopes = [part for scope in _SCOPES for part in ("--scope", scope)]
    created = subprocess.run(
        [*flask, "create", "benchmark", *scopes], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    key = re.findall(r"\S{32,}", created.stdout)[-1]
    return {"Authorization": f"Bearer {key}"}
