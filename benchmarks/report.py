"""Tells what was measured: one table on the terminal, docs/benchmarks.md and docs/benchmarks.svg."""

import os
import platform
import sqlite3

import orjson

from benchmarks import storage
from benchmarks.chart import draw
from benchmarks.targets import Results, Target, targets

_DOCS = storage.ROOT / "docs"
_TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_LONGEST_SQL = 160


def read_results() -> Results:
    """Read what was measured of databases that are as a fill would make them today."""
    results: Results = {}
    for kind in storage.KINDS:
        for path in storage.folder().glob(f"result_{kind}_*.json"):
            result = orjson.loads(path.read_bytes())
            if storage.filled(kind, result["contacts"]):
                results.setdefault(kind, {})[result["contacts"]] = result
    return results


def print_table(results: Results, size: int) -> None:
    """Print every target, what was measured of it, and a mark where it is missed."""
    found = targets(results, size)
    kinds = list(found[0].measured)
    width = max(len(target.name) for target in found)
    print(f"{size:,} contacts".ljust(width), *(f"{_TITLES[kind]:>14}" for kind in kinds), f"{'target':>14}")
    for target in found:
        cells = [_figure(target, kind) + (" " if target.is_met(kind) else "!") for kind in kinds]
        print(
            target.name.ljust(width), *(f"{cell:>14}" for cell in cells), f"{'≤ ' + _number(target.most, target):>14}"
        )


def write_documents(results: Results, sizes: list[int]) -> None:
    """Write the page and its chart from the results of these sizes; the first is the one that the chart shows."""
    sizes = [size for size in sizes if any(size in by_size for by_size in results.values())]
    first = sizes[0]
    parts = [_INTRODUCTION, f"Measured on {_machine()}, PostgreSQL with its default settings.\n"]
    parts.append("![Service ÷ floor](benchmarks.svg)\n")
    for size in sizes:
        parts += [f"## {size:,} contacts\n", _target_table(targets(results, size)), _time_table(results, size)]
        parts.append(_served_table(results, size))
    parts += [_EXPLANATIONS, "## Whose code the time goes to\n", _PROFILES, _profile_table(results, first)]
    parts += ["## Fill\n", _fill_table(results), f"## Queries and plans, {first:,} contacts\n", _plans(results, first)]
    (_DOCS / "benchmarks.md").write_text("\n".join(part for part in parts if part).rstrip() + "\n")
    ratios = [target for target in targets(results, first) if target.name.endswith("÷ floor")]
    (_DOCS / "benchmarks.svg").write_text(draw(ratios, f"Service ÷ floor, {first:,} contacts"))


_INTRODUCTION = """# Benchmarks

`make bench` fills databases of 10,000 and a million contacts and measures the service on both, `make bench-full` with
ten million; this page and its chart are what they write. The databases are kept in `~/.cache/contacts-bench`, or
where `CONTACTS_BENCH_DATA` says.

Every operation is compared with its **floor**: a bare Flask route with SQL written by hand, the driver and orjson,
on the same database with the same answer (`benchmarks/floor.py`). Both take turns in one process; the ratio is that
of their medians. Times differ from machine to machine, ratios less so.

- The contacts are made up: 20 accounts whose sizes follow Zipf's law, names in eleven scripts, 30 % assigned to 200
  users, tags, sessions, and the messages of the last week. Names that searches look for are planted, so that it is
  known how many contacts match.
- SQLite has no statistics, as the service never runs `ANALYZE`; with them no plan of these operations was better.
- "Growth" compares the service's median with that of 10,000 contacts; accounts and assignees grow along.
- Behind gunicorn both run with the settings of `make run`; the load comes from a process of its own over eight kept
  connections, on the same machine.
- The container image adds 29.5 MB to its base, by `docker history`; `make bench` doesn't build it.
"""


_EXPLANATIONS = """## What stands in the way of the targets that are missed

- **A request ÷ floor.** The floor asks nobody for a key, validates nothing, logs and counts nothing, and sends no
  headers but two. What the service does beside is a few dozen microseconds, whatever the operation: the key's hash, the
  id and the log line, five observations for Prometheus, the rules of the address, a place among those that may wait for
  the database, a look at its connection, and headers. A list adds the dict of each row, and a recorded message the
  validation of a nested body and one more query, which tells a repeated message. More than half of a small request on
  SQLite is Flask and Werkzeug; the table below has the shares.
- **Growth and 1.2 counts.** A total is exact, so each match of a search is counted: one contact in twenty is a thousand
  times as many at ten million as at ten thousand. Beside the database's own count of them nearly nothing is left to
  save. A page in the middle steps over all that stand before it, in the index alone; neither database knows how many
  entries a branch of an index holds. Whoever walks far takes cursors.
- **A search of 1,000 matches ÷ get.** Found and counted they are within a fraction of a millisecond, but whose message
  is newest stands in a thousand rows, each on another page of the table, and the floor reads them too. The order in the
  search index would spare that, and have every message write to it. On PostgreSQL a word of more than six letters is
  looked up as two grams, one of which may be common: the hundred matches share theirs with a frequent name.
- **Growth of writes on PostgreSQL.** With ten million contacts the floor's create and update grow by 1.7 to 1.8 times
  as well: a name's grams go to some sixty places of an index of 1.5 GB, of which the server's default settings keep a
  twelfth in its own memory.
- **Queries of a list.** Where there are three, one renews the copy of the keys in memory, as happens every two seconds.
- **A cursor ÷ first page.** The floor's cursors cost 1.1 to 1.2 times its first page: a longer condition has to be met.
  The service also makes sure that a cursor is one of its own, and of the same list.
"""
_PROFILES = """Shares of a profile, which makes calls of functions look dearer than they are: what a request's time
goes to between the server and the driver. What Python and its library do counts for whoever called them.
"""


def _profile_table(results: Results, size: int) -> str:
    found = {kind: by_size[size]["profiles"] for kind, by_size in results.items() if size in by_size}
    shares = [shares for profiles in found.values() for sides in profiles.values() for shares in sides.values()]
    owners = sorted(
        {owner for each in shares for owner in each}, key=lambda owner: -sum(e.get(owner, 0) for e in shares)
    )
    rows = [["", "", "", *owners]]
    for kind, profiles in found.items():
        for name, sides in profiles.items():
            for side, of in sides.items():
                rows.append([name, _TITLES[kind], side, *(f"{of.get(owner, 0):.0%}" for owner in owners)])
    return _table(rows)


def _target_table(found: list[Target]) -> str:
    kinds = list(found[0].measured)
    rows = [["", "target", *(_TITLES[kind] for kind in kinds), "met"]]
    for target in found:
        missed = [_TITLES[kind] for kind in kinds if not target.is_met(kind)]
        verdict = "yes" if not missed else "no" if len(missed) == len(kinds) else f"not on {missed[0]}"
        figures = [_figure(target, kind) for kind in kinds]
        rows.append([target.name, f"≤ {_number(target.most, target)}", *figures, verdict])
    return _table(rows)


def _time_table(results: Results, size: int) -> str:
    rows = [["median, ms"]]
    by_kind = {kind: by_size[size]["operations"] for kind, by_size in results.items() if size in by_size}
    for kind in by_kind:
        rows[0] += [f"{_TITLES[kind]}: service", "floor", "queries"]
    for name in next(iter(by_kind.values())):
        row = [name]
        for operations in by_kind.values():
            of = operations[name]
            row += [f"{of['service'] * 1000:.2f}", f"{of['floor'] * 1000:.2f}", str(len(of["queries"]))]
        rows.append(row)
    return _table(rows)


def _served_table(results: Results, size: int) -> str:
    rows = [["behind gunicorn", "", "requests/s", "p50, ms", "p99, ms", "floor: requests/s", "p50, ms", "p99, ms"]]
    for kind, by_size in results.items():
        for name, sides in by_size.get(size, {}).get("served", {}).items():
            row = [name, _TITLES[kind]]
            for side in ("service", "floor"):
                of = sides[side]
                refused = f" ({of['refused']} refused)" if of["refused"] else ""
                row += [
                    f"{of['requests_per_second']:,.0f}{refused}",
                    f"{of['p50'] * 1000:.1f}",
                    f"{of['p99'] * 1000:.1f}",
                ]
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


def _plans(results: Results, size: int) -> str:
    parts = []
    for kind, by_size in results.items():
        for name, operation in by_size.get(size, {"operations": {}})["operations"].items():
            parts.append(f"<details><summary>{_TITLES[kind]}: {name}</summary>\n\n```")
            for query in operation["queries"]:
                sql = " ".join(query["sql"].split())
                parts.append(sql if len(sql) <= _LONGEST_SQL else _shortened(sql))
                parts += [f"    {line}" for line in query["plan"]]
            parts.append("```\n\n</details>")
    return "\n".join(parts)


def _shortened(sql: str) -> str:
    """Leave out the columns of a select, and the end of what is still too long."""
    start, found, rest = sql.partition(" FROM ")
    sql = f"SELECT … FROM {rest}" if found and start.startswith("SELECT") else sql
    return sql if len(sql) <= 2 * _LONGEST_SQL else sql[: 2 * _LONGEST_SQL] + " …"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{os.cpu_count()} processors and {memory / 1e9:.0f} GB of memory, {platform.system()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def _figure(target: Target, kind: str) -> str:
    return _number(target.measured[kind], target)


def _number(value: float, target: Target) -> str:
    return f"{value:,.2f}{target.unit}" if target.unit else f"{value:,.0f}"


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:], ""])
