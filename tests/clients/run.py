"""`make clients`: generate clients from the OpenAPI document, compile them, and run them against the service.

Not part of `make test`: each needs the tool chain of its language, and the package registries at the first run. A
client whose tool chain is missing is skipped. Each program does the same: it creates, lists, gets, updates, assigns
and deletes a contact, records a message, and handles an error.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

from helpers.service import ROOT, serve

PROGRAMS = Path(__file__).parent
WORK = ROOT / "build/clients"  # Kept between runs: what is installed there is installed once.
NPM = {
    "@redocly/cli": "2.77.0",
    "@stoplight/spectral-cli": "6.16.3",
    "@types/node": "20.19.0",
    "openapi-fetch": "0.17.0",
    "openapi-typescript": "7.13.0",
    "typescript": "5.9.3",
}
OPENAPI_GENERATOR = "7.26.0"
OAPI_CODEGEN = "2.8.2"
OAPI_CODEGEN_RUNTIME = "1.8.0"
TSC = "--strict --skipLibCheck --esModuleInterop --target es2022 --module commonjs --moduleResolution node10"


class ToolMissing(Exception):
    """The machine lacks a tool chain."""


def run(*command: str | Path, cwd: Path = WORK) -> None:
    """Run a command; raises CalledProcessError with its output, and ToolMissing."""
    if not shutil.which(str(command[0])):
        raise ToolMissing(str(command[0]))
    subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def npm_tool(name: str, *arguments: str, cwd: Path = WORK) -> None:
    wanted = [f"{package}@{version}" for package, version in NPM.items()]
    installed = WORK / "npm-installed"
    if not installed.exists() or installed.read_text() != str(wanted):
        run("npm", "install", "--prefix", WORK, "--no-audit", "--no-fund", *wanted)
        installed.write_text(str(wanted))
    run(WORK / "node_modules/.bin" / name, *arguments, cwd=cwd)


def save_document(url: str) -> None:
    """Save the document without one field that answers have: a client has to ignore fields of later versions."""
    with urlopen(f"{url}/openapi.json") as response:
        document = json.load(response)
    for name in ("Contact", "ContactSummary"):
        schema = document["components"]["schemas"][name]
        del schema["properties"]["unread_count"]
        schema["required"].remove("unread_count")
    (WORK / "openapi.json").write_text(json.dumps(document))


def openapi_generator(generator: str, *options: str) -> Path:
    """Generate a client into a new folder, and return the folder."""
    python, folder = WORK / "venv/bin/python", WORK / generator
    if not python.exists():
        venv.create(WORK / "venv", with_pip=True)
    run(python, "-m", "pip", "install", "-q", f"openapi-generator-cli=={OPENAPI_GENERATOR}")
    shutil.rmtree(folder, ignore_errors=True)
    (jar,) = (WORK / "venv").glob("lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar")
    run("java", "-jar", jar, "generate", "-g", generator, "-i", "openapi.json", "-o", folder, *options)
    return folder


def redocly(_: str) -> None:
    npm_tool("redocly", "lint", "openapi.json")


def spectral(_: str) -> None:
    (WORK / "spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    npm_tool("spectral", "lint", "openapi.json", "--ruleset", "spectral.yaml", "--fail-severity", "hint")


def openapi_python_client(_: str) -> None:
    """The one that `make test` runs too."""
    test = "tests/test_openapi.py::test_generated_client_performs_all_eight_operations[sqlite]"
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test, cwd=ROOT)


def openapi_typescript(url: str) -> None:
    folder = WORK / "openapi-typescript"
    folder.mkdir(exist_ok=True)
    npm_tool("openapi-typescript", "openapi.json", "--output", "openapi-typescript/contacts.d.ts")
    shutil.copy(PROGRAMS / "openapi_typescript.ts", folder / "main.ts")
    npm_tool("tsc", *TSC.split(), "--types", "node", "--outDir", "out", "main.ts", cwd=folder)
    run("node", "out/main.js", url, cwd=folder)


def oapi_codegen(url: str) -> None:
    folder = WORK / "oapi-codegen"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "contacts").mkdir(parents=True)
    (folder / "go.mod").write_text("module client\n\ngo 1.24\n")
    shutil.copy(PROGRAMS / "oapi_codegen.go", folder / "main.go")
    generator = f"github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v{OAPI_CODEGEN}"
    options = ["-generate", "types,client", "-package", "contacts", "-o", "contacts/contacts.go"]
    run("go", "run", generator, *options, WORK / "openapi.json", cwd=folder)
    run("go", "get", f"github.com/oapi-codegen/runtime@v{OAPI_CODEGEN_RUNTIME}", cwd=folder)
    run("go", "mod", "tidy", cwd=folder)
    run("go", "vet", "./...", cwd=folder)
    run("go", "run", ".", url, cwd=folder)


def generator_python(url: str) -> None:
    folder = openapi_generator("python")
    python = WORK / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", folder)
    run(python, PROGRAMS / "generator_python.py", url)


def generator_typescript_fetch(url: str) -> None:
    folder = openapi_generator("typescript-fetch")
    shutil.copy(PROGRAMS / "generator_typescript_fetch.ts", folder / "main.ts")
    npm_tool("tsc", *TSC.split(), "--types", "node", "--outDir", "out", "main.ts", cwd=folder)
    run("node", "out/main.js", url, cwd=folder)


def generator_java(url: str) -> None:
    # Without it the client refuses fields that it doesn't know.
    folder = openapi_generator("java", "--additional-properties=disallowAdditionalPropertiesIfNotPresent=false")
    shutil.copy(PROGRAMS / "GeneratorJava.java", folder / "src/main/java/GeneratorJava.java")
    classpath = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"
    run("mvn", "-q", "-B", "compile", classpath, "-Dmdep.outputFile=classpath", cwd=folder)
    run("java", "-cp", f"target/classes:{(folder / 'classpath').read_text()}", "GeneratorJava", url, cwd=folder)


CLIENTS: dict[str, Callable[[str], None]] = {
    "redocly lint": redocly,
    "spectral lint": spectral,
    "openapi-python-client": openapi_python_client,
    "openapi-typescript": openapi_typescript,
    "oapi-codegen (Go)": oapi_codegen,
    "openapi-generator python": generator_python,
    "openapi-generator typescript-fetch": generator_typescript_fetch,
    "openapi-generator java": generator_java,
}


def main() -> int:
    WORK.mkdir(parents=True, exist_ok=True)
    # Arguments choose by a part of the name: `make clients ARGS="Go java"`.
    chosen = {name: CLIENTS[name] for name in CLIENTS if not sys.argv[1:] or any(part in name for part in sys.argv[1:])}
    results: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="contacts-clients-") as folder,
        serve(f"sqlite:///{folder}/contacts.db", Path(folder)) as service,
    ):
        save_document(service.url)
        for name, check in chosen.items():
            try:
                check(service.url)
            except ToolMissing as missing:
                results.append(f"skipped: {missing} is not installed")
            except subprocess.CalledProcessError as failed:
                results.append("FAILED")
                print(failed.stdout)
            else:
                results.append("works")
            print(f"{name:36}{results[-1]}", flush=True)
    print(f"{results.count('works')} work, {results.count('FAILED')} failed, of {len(chosen)}")
    return 1 if "FAILED" in results else 0


if __name__ == "__main__":
    sys.exit(main())
