"""Reports the results: a table on the terminal, query plans in a text file, docs/benchmarks.md with its chart."""

import os
import platform
import sqlite3
from collections import Counter
from pathlib import Path

import orjson

from benchmarks import processor, storage
from benchmarks.chart import draw
from benchmarks.targets import Results, Target, targets

_DOCS = storage.ROOT / "docs"
_TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def read_results() -> Results:
    """Read the results of databases that match the current schema and generated rows."""
    results: Results = {}
    for kind in storage.KINDS:
        for path in storage.folder().glob(f"result_{kind}_*.json"):
            result = orjson.loads(path.read_bytes())
            if storage.load_fill_result(kind, result["contacts"]):
                results.setdefault(kind, {})[result["contacts"]] = result
    return results


def print_table(results: Results, size: int) -> None:
    """Print every target with its measured values; missed ones are marked with an exclamation mark."""
    found = targets(results, size)
    kinds = list(found[0].measured)
    width = max(len(target.name) for target in found)
    print(f"{size:,} contacts".ljust(width), *(f"{_TITLES[kind]:>14}" for kind in kinds), f"{'target':>14}")
    for target in found:
        cells = [_value(target, kind) + (" " if target.is_met(kind) else "!") for kind in kinds]
        limit = f"≤ {_number(target.limit, target)}"
        print(target.name.ljust(width), *(f"{cell:>14}" for cell in cells), f"{limit:>14}")


def write_plans(results: Results, size: int) -> Path:
    """Write the SQL of every operation and its query plans to a text file beside the databases."""
    parts = []
    for kind, by_size in results.items():
        for name, operation in by_size.get(size, {"operations": {}})["operations"].items():
            parts.append(f"== {_TITLES[kind]}: {name}")
            for query in operation["queries"]:
                parts.append(" ".join(query["sql"].split()))
                parts += [f"    {line}" for line in query["plan"]]
            parts.append("")
    path = storage.folder() / f"plans_{size}.txt"
    path.write_text("\n".join(parts))
    return path


def write_documents(results: Results, sizes: list[int]) -> None:
    """Write the page for these sizes and the chart for the first of them."""
    sizes = [size for size in sizes if any(size in by_size for by_size in results.values())]
    first = sizes[0]
    parts = [_INTRODUCTION, f"Measured on {_machine()}, PostgreSQL with its default settings.\n"]
    parts.append("![Service ÷ floor](benchmarks.svg)\n")
    for size in sizes:
        parts += [f"## {size:,} contacts\n", _target_table(targets(results, size)), _time_table(results, size)]
        parts.append(_served_table(results, size))
    parts += [_MISSED_TARGETS, _PROFILES, _profile_table(results, first), "## Fill\n", _fill_table(results)]
    (_DOCS / "benchmarks.md").write_text("\n".join(part for part in parts if part).rstrip() + "\n")
    ratios = [target for target in targets(results, first) if target.name.endswith("÷ floor")]
    (_DOCS / "benchmarks.svg").write_text(draw(ratios, f"Service ÷ floor, {first:,} contacts"))


_INTRODUCTION = """# Benchmarks

`make bench` measures the service on SQLite and PostgreSQL with 10,000 and one million contacts, `make bench-full` with
ten million. Both write this page and its chart. They keep the databases, the results and the query plans in
`~/.cache/contacts-bench`, or in the folder that `CONTACTS_BENCH_DATA` names.

Each operation is compared with a **floor**: a bare Flask route with hand-written SQL, the driver and orjson, which
gives the same response from the same database (`benchmarks/floor.py`). Requests alternate between the two in one
process, and a ratio is that of their medians. Times differ between machines, ratios less so.

- The contacts are generated: 20 accounts whose sizes follow Zipf's law, names in eleven scripts, 30 % assigned to 200
  users, with tags, sessions and the messages of the last week. The names that searches look for are inserted at a
  known frequency.
- Growth is the service's median divided by that with 10,000 contacts; accounts and assignees grow in proportion.
- The service never runs `ANALYZE`, so SQLite plans without statistics.
- gunicorn runs both with the settings of `make run`; the load comes from another process over eight persistent
  connections. CPU is that of the workers and of PostgreSQL's backends ÷ requests, which other load on the machine
  hardly changes; `python -m benchmarks.served --against CHECKOUT` compares it with that of another checkout.
- The container image adds 29.5 MB to its base image (`docker history`, not part of `make bench`).
"""
_MISSED_TARGETS = """## Missed targets

- **Ratio to the floor.** The floor checks no key, validates nothing and writes neither logs nor metrics. This costs the
  service a few dozen microseconds for each request. A list also builds a dict for each row; a recorded message has a
  nested body to validate and one more query, which detects repeated messages.
- **Growth of searches and of a page in the middle.** Totals are exact, so every match is counted, and an offset skips
  the entries before it one by one. The databases' own count takes almost all of that time. Cursors avoid the offset.
- **A search of 1,000 matches ÷ get.** Sorting reads the time of the last message from a thousand table rows, and the
  floor does the same. Keeping that time in the search index would cost an index update for each message. On
  PostgreSQL a word of more than six letters is looked up by two grams, one of which may be common.
- **Growth of writes on PostgreSQL.** With ten million contacts create and update of the floor grow 1.7 to 1.8 times as
  well: the grams of a name go to about sixty places of an index of 1.5 GB, twelve times PostgreSQL's default buffers.
- **Queries of a list.** A third query refreshes the keys in memory, which happens every two seconds.
- **Cursor ÷ first page.** The query has a longer condition: for the floor the ratio is 1.1 to 1.2 too. The service also
  checks that the cursor belongs to this list.
"""
_PROFILES = """## Profiles

Shares of the profiled time. A profiler makes function calls look more expensive than they are. Time in Python and its
standard library counts for the caller.
"""


def _profile_table(results: Results, size: int) -> str:
    found = {kind: by_size[size]["profiles"] for kind, by_size in results.items() if size in by_size}
    totals: Counter[str] = Counter()
    for profiles in found.values():
        for sides in profiles.values():
            for shares in sides.values():
                totals.update(shares)
    owners = [owner for owner, _ in totals.most_common()]
    rows = [["", "", "", *owners]]
    for kind, profiles in found.items():
        for name, sides in profiles.items():
            for side, shares in sides.items():
                rows.append([name, _TITLES[kind], side, *(f"{shares.get(owner, 0):.0%}" for owner in owners)])
    return _table(rows)


def _target_table(found: list[Target]) -> str:
    kinds = list(found[0].measured)
    rows = [["", "target", *(_TITLES[kind] for kind in kinds), "met"]]
    for target in found:
        missed = [_TITLES[kind] for kind in kinds if not target.is_met(kind)]
        verdict = "yes" if not missed else "no" if len(missed) == len(kinds) else f"not on {missed[0]}"
        values = [_value(target, kind) for kind in kinds]
        rows.append([target.name, f"≤ {_number(target.limit, target)}", *values, verdict])
    return _table(rows)


def _time_table(results: Results, size: int) -> str:
    rows = [["median, ms"]]
    by_kind = {kind: by_size[size]["operations"] for kind, by_size in results.items() if size in by_size}
    for kind in by_kind:
        rows[0] += [f"{_TITLES[kind]}: service", "floor", "queries"]
    for name in next(iter(by_kind.values())):
        row = [name]
        for operations in by_kind.values():
            operation = operations[name]
            milliseconds = [f"{operation[side] * 1000:.2f}" for side in ("service", "floor")]
            row += [*milliseconds, str(len(operation["queries"]))]
        rows.append(row)
    return _table(rows)


def _served_table(results: Results, size: int) -> str:
    columns = ["requests/s", "p50, ms", "p99, ms", "CPU, ms", "of database"]
    rows = [["behind gunicorn", "", *columns, f"floor: {columns[0]}", *columns[1:]]]
    for kind, by_size in results.items():
        for name, sides in by_size.get(size, {}).get("served", {}).items():
            row = [name, _TITLES[kind]]
            for side in ("service", "floor"):
                result = sides[side]
                refused = f" ({result['refused']} refused)" if result["refused"] else ""
                row.append(f"{result['requests_per_second']:,.0f}{refused}")
                row += [f"{result[percentile] * 1000:.1f}" for percentile in ("p50", "p99")]
                row += [f"{result[part] * 1000:.2f}" for part in processor.PARTS]
            rows.append(row)
    return _table(rows) if rows[1:] else ""


def _fill_table(results: Results) -> str:
    rows = [["", "contacts", "rows", "rows/s stored", "rows/s with indexes", "seconds"]]
    for kind, by_size in results.items():
        for size, result in sorted(by_size.items()):
            fill = result["fill"]
            rates = [f"{fill['rows_per_second_stored']:,.0f}", f"{fill['rows_per_second']:,.0f}"]
            rows.append(
                [_TITLES[kind], f"{size:,}", f"{sum(fill['rows'].values()):,}", *rates, f"{fill['seconds']:.0f}"]
            )
    return _table(rows)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{os.cpu_count()} processors and {memory / 1e9:.0f} GB of memory, {platform.system()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def _value(target: Target, kind: str) -> str:
    return _number(target.measured[kind], target)


def _number(value: float, target: Target) -> str:
    return f"{value:,.2f}{target.unit}" if target.unit else f"{value:,.0f}"


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:], ""])
