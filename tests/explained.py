"""What the statements of some work read, as PostgreSQL explains each while it carries it out."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from sqlalchemy import Engine, event

READING: Final = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
EXPLAIN: Final = "EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) "


@dataclass(frozen=True)
class Explained:
    """A statement, how many rows it looked at in which table, found fit or not, and its plan for whoever wonders why."""

    statement: str
    rows: Counter[str]
    plan: dict[str, Any]


@contextmanager
def explained(engine: Engine) -> Iterator[list[Explained]]:
    """Every statement made on the engine's connections meanwhile; of those executed for many rows, the first one.

    Each is carried out twice: to be explained, which is rolled back to a savepoint, and then in earnest.
    """
    found: list[Explained] = []

    class Explaining(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> "Explaining":
            if isinstance(query, str) and READING.match(query):
                found.append(_explain(self.connection, query, params))
            return super().execute(query, params, **options)

        def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
            rows: Sequence[Any] = list(params_seq)
            if isinstance(query, str) and rows:
                found.append(_explain(self.connection, query, rows[0]))
            super().executemany(query, rows, **options)

    def begin(connection: "psycopg.Connection[Any]", *_: object) -> None:
        connection.cursor_factory = Explaining

    def end(connection: "psycopg.Connection[Any]", *_: object) -> None:
        connection.cursor_factory = psycopg.Cursor

    event.listen(engine, "checkout", begin)
    event.listen(engine, "checkin", end)
    try:
        yield found
    finally:
        event.remove(engine, "checkout", begin)
        event.remove(engine, "checkin", end)


def _explain(connection: "psycopg.Connection[Any]", statement: str, values: Any) -> Explained:
    with psycopg.Cursor(connection) as cursor:
        cursor.execute("SAVEPOINT explained")
        cursor.execute(EXPLAIN + statement, values)
        [([plan],)] = cursor.fetchall()
        cursor.execute("ROLLBACK TO SAVEPOINT explained")
    return Explained(statement, _rows(plan["Plan"]), plan)


def _rows(node: dict[str, Any]) -> Counter[str]:
    """Rows that a plan's scans looked at, by table: found, removed by a condition, or checked again."""
    looked = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows: Counter[str] = Counter()
    if "Relation Name" in node and node["Node Type"] != "ModifyTable":
        rows[node["Relation Name"]] = round(sum(node.get(name, 0) for name in looked) * node["Actual Loops"])
    for inner in node.get("Plans", ()):
        rows += _rows(inner)
    return rows
