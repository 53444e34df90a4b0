"""`make fuzz`: schemathesis, all its checks, against the running service on each database.

Not part of `make test`: it takes minutes. Arguments go to `schemathesis run`, such as `--max-examples 1000`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.databases import KINDS, Databases
from helpers.service import ROOT, run_flask, serve

from contacts_service.web.auth import SCOPES


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory(prefix="contacts-fuzz-") as folder:
        databases = Databases(Path(folder))
        for kind in KINDS:
            print(f"\n{kind}", flush=True)
            url = databases.create(kind)
            scopes = [f"--scope={scope}" for scope in SCOPES]
            key = run_flask(url, "keys", "create", "fuzz", *scopes).stdout.strip()
            with serve(url, Path(folder)) as service:
                command = [Path(sys.executable).with_name("schemathesis"), "run", f"{service.url}/openapi.json"]
                command += ["--header", f"X-API-Key: {key}"]
                environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz_hooks"}
                command += ["--checks", "all", *sys.argv[1:]]
                run = subprocess.run(command, cwd=ROOT, env=environment, check=False)
                log = service.log.read_text()
            crashes = log.count("Traceback") + log.count('"status":500')
            print(f"{kind}: schemathesis ended with {run.returncode}, the service's log holds {crashes} crashes")
            if run.returncode or crashes:
                failed.append(kind)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
