"""`make fuzz`: schemathesis, all its checks, against the running service on each database.

Not part of `make test`: it takes minutes. Arguments go to `schemathesis run`, such as `--max-examples 1000`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from conftest import KINDS, ROOT, Databases, serve


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory(prefix="contacts-fuzz-") as folder:
        databases = Databases(Path(folder))
        for kind in KINDS:
            print(f"\n{kind}", flush=True)
            with serve(databases.create(kind), Path(folder)) as service:
                command = [Path(sys.executable).with_name("schemathesis"), "run", f"{service.url}/openapi.json"]
                run = subprocess.run([*command, "--checks", "all", *sys.argv[1:]], cwd=ROOT, check=False)
                log = service.log.read_text()
            crashes = log.count("Traceback")
            print(f"{kind}: schemathesis ended with {run.returncode}, the service's log holds {crashes} tracebacks")
            if run.returncode or crashes:
                failed.append(kind)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
