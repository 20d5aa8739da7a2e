"""Neither plane reaches the other's tables: every statement on every table and column, as every database role.

The matrices are made from the tables themselves, so that a new table, column or role has its cells. A cell is a statement
that is really sent; what no rule below allows has to be refused for want of a right, and for nothing else.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import CheckViolation, InsufficientPrivilege
from sqlalchemy import MetaData

from cloudpriv.database import SCHEMAS, TABLES, PlaneName
from cloudpriv.embedded.stack import Stack
from tests.factories import NOW
from tests.flows.embedded_data import connect
from tests.planes import BEGINNING, OTHER, PLANES
from tests.stack import TestDatabase, fresh_database

# In whose database a role has its rights: those two that the other plane's workers use stand in the way between the planes.
ROLES: Final[dict[str, PlaneName]] = {
    "CLOUDPRIV_MIGRATION_DATABASE_URL": "controller",
    "CLOUDPRIV_DATABASE_URL": "controller",
    "CLOUDPRIV_WORKER_DATABASE_URL": "controller",
    "CLOUDPRIV_PROCESSOR_TELLER_DATABASE_URL": "controller",
    "CLOUDPRIV_PROCESSOR_MIGRATION_DATABASE_URL": "processor",
    "CLOUDPRIV_PROCESSOR_DATABASE_URL": "processor",
    "CLOUDPRIV_PROCESSOR_WORKER_DATABASE_URL": "processor",
    "CLOUDPRIV_ERASER_DATABASE_URL": "processor",
}
OWNERS: Final[dict[PlaneName, str]] = {plane: f"{BEGINNING[plane]}MIGRATION_DATABASE_URL" for plane in PLANES}
Cell = tuple[str, str, str | None]  # the verb, the table, and the column where it is the right to one
OF_COLUMNS: Final = {
    "SELECT": "SELECT {column} FROM {table} WHERE false",
    "INSERT": "INSERT INTO {table} ({column}) SELECT NULL WHERE false",
    "UPDATE": "UPDATE {table} SET {column} = DEFAULT WHERE false",
}
OF_TABLES: Final = {
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table} CASCADE",
    "LOCK": "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
    "COPY": "COPY {table} TO STDOUT",
    "DROP": "DROP TABLE {table} CASCADE",
    "ALTER": "ALTER TABLE {table} ADD COLUMN planted int",
    "INDEX": "CREATE INDEX ON {table} ((1))",
    "TRIGGER": "CREATE TRIGGER planted BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
}
ERASER: Final[frozenset[Cell]] = frozenset(
    {
        *(("SELECT", "log_accounts", name) for name in ("account_id", "last_point_at", "closing_until", "erasing_at")),
        *(("UPDATE", "log_accounts", name) for name in ("closing_until", "erasing_at")),
        ("SELECT", "log_keys", "account_id"),
        ("DELETE", "log_keys", None),
        ("LOCK", "log_keys", None),  # comes with the right to delete
        *((verb, "log_erased", name)
          for verb in ("SELECT", "INSERT")
          for name in ("account_hash", "ordered_at", "erased_at", "counts")),
        ("COPY", "log_erased", None),
    }
)  # fmt: skip
TELLER: Final[frozenset[Cell]] = frozenset(("INSERT", "log_data_traffic", name) for name in ("account_id", "told_id", "at"))
ACROSS: Final = {"CLOUDPRIV_ERASER_DATABASE_URL": ERASER, "CLOUDPRIV_PROCESSOR_TELLER_DATABASE_URL": TELLER}
PAGE: Final = Path(__file__).parents[2] / "docs" / "two-planes.md"
ACCOUNT: Final = UUID("01a00000-0000-7000-8000-000000000001")


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[TestDatabase]:
    """One database for all statements here: none of them changes anything, or it is rolled back."""
    with fresh_database(stack) as made:
        yield made


@contextmanager
def signed_in(database: TestDatabase, variable: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(database.environment(), variable) as connection:
        yield connection


def columns(tables: MetaData) -> dict[str, list[str]]:
    """Every column of every table of a plane, Alembic's own too."""
    named = {table.name: [column.name for column in table.columns] for table in tables.sorted_tables}
    return {**named, "alembic_version": ["version_num"]}


def statements(plane: PlaneName) -> Iterator[tuple[Cell, sql.Composed]]:
    """Every statement on every table and column of a plane, qualified with its schema."""
    for name, of_table in columns(TABLES[plane]).items():
        table = sql.Identifier(SCHEMAS[plane], name)
        for verb, text in OF_TABLES.items():
            yield (verb, name, None), sql.SQL(text).format(table=table)
        for column in of_table:
            for verb, text in OF_COLUMNS.items():
                yield (verb, name, column), sql.SQL(text).format(table=table, column=sql.Identifier(column))


def is_refused(connection: psycopg.Connection[Any], statement: sql.Composed | sql.SQL) -> bool:
    """Whether a right is wanting; what is not refused is undone. Any other fault is the test's own, and comes out."""
    with connection.cursor() as cursor, connection.transaction(force_rollback=True):
        try:
            with connection.transaction():
                if b"COPY" in statement.as_bytes(connection)[:4]:
                    with cursor.copy(statement) as copied:
                        list(copied)
                else:
                    cursor.execute(statement)
        except InsufficientPrivilege:
            return True
    return False


def permitted(database: TestDatabase, variable: str, plane: PlaneName) -> set[Cell]:
    """What a role may do with a plane's tables, found by trying everything."""
    with signed_in(database, variable) as connection:
        return {cell for cell, statement in statements(plane) if not is_refused(connection, statement)}


@pytest.mark.parametrize("variable", ROLES)
def test_a_role_can_do_nothing_with_any_table_of_the_other_plane(database: TestDatabase, variable: str) -> None:
    assert permitted(database, variable, OTHER[ROLES[variable]]) == set()


@pytest.mark.parametrize("variable", ACROSS)
def test_a_role_that_the_other_plane_uses_can_do_what_it_is_for_and_nothing_else(
    database: TestDatabase, variable: str
) -> None:
    assert permitted(database, variable, ROLES[variable]) == ACROSS[variable]


@pytest.mark.parametrize("plane", PLANES)
def test_an_owner_can_do_everything_so_that_no_cell_is_refused_for_its_wording(
    database: TestDatabase, plane: PlaneName
) -> None:
    assert permitted(database, OWNERS[plane], plane) == {cell for cell, _ in statements(plane)}


@pytest.mark.parametrize("plane", PLANES)
def test_the_matrix_has_every_table_that_there_is(database: TestDatabase, plane: PlaneName) -> None:
    with signed_in(database, OWNERS[plane]) as connection:
        found = connection.execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s",
                                   [SCHEMAS[plane]]).fetchall()  # fmt: skip
    assert set(found) == {(table, column) for table, named in columns(TABLES[plane]).items() for column in named}


def test_the_matrix_has_every_role_that_there_is(database: TestDatabase) -> None:
    with signed_in(database, OWNERS["controller"]) as connection:
        found = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'cloudpriv%'").fetchall()
    assert {name for (name,) in found} == set(role_names(database).values())
    assert len(found) == len(ROLES)


@pytest.mark.parametrize(
    ("variable", "role"),
    [("CLOUDPRIV_ERASER_DATABASE_URL", "cloudpriv_eraser"), ("CLOUDPRIV_PROCESSOR_TELLER_DATABASE_URL", "cloudpriv_teller")],
)
def test_the_grants_that_the_documentation_tells_of_are_those_that_there_are(stack: Stack, variable: str, role: str) -> None:
    plane = ROLES[variable]
    documented = re.findall(rf"^GRANT .* TO {role};$", PAGE.read_text(), re.MULTILINE)
    with fresh_database(stack) as own:
        with signed_in(own, OWNERS[plane]) as owner:
            for name in columns(TABLES[plane]):
                owner.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(
                    sql.Identifier(SCHEMAS[plane], name), sql.Identifier(role)))  # fmt: skip
            assert permitted(own, variable, plane) == set()
            for grant in documented:
                owner.execute(grant.encode())
        assert permitted(own, variable, plane) == ACROSS[variable]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE processor.log_accounts SET erasing_at = NULL",
        "UPDATE processor.log_accounts SET erasing_at = clock_timestamp() - interval '1 day'",
        "UPDATE processor.log_accounts SET closing_until = 'infinity'",
        "UPDATE processor.log_accounts SET closing_until = clock_timestamp() + interval '7 minutes'",
    ],
)
def test_the_erasers_door_takes_no_order_back_and_closes_nothing_for_long(database: TestDatabase, statement: str) -> None:
    with marked(database, NOW) as eraser, pytest.raises(CheckViolation):
        eraser.execute(statement.encode())


def test_the_erasers_door_orders_no_erasure_for_later(database: TestDatabase) -> None:
    with marked(database, None) as eraser, pytest.raises(CheckViolation):
        eraser.execute("UPDATE processor.log_accounts SET erasing_at = clock_timestamp() + interval '2 minutes'")


def test_the_erasers_door_orders_again_and_closes_for_five_minutes(database: TestDatabase) -> None:
    with marked(database, NOW) as eraser:
        done = eraser.execute(
            "UPDATE processor.log_accounts SET erasing_at = COALESCE(erasing_at, clock_timestamp()), "
            "closing_until = clock_timestamp() + interval '5 minutes'"
        )
        assert done.rowcount == 1


@contextmanager
def marked(database: TestDatabase, erasing_at: datetime | None) -> Iterator[psycopg.Connection[Any]]:
    """The eraser, while there is an account that is marked so."""
    with signed_in(database, OWNERS["processor"]) as owner:
        owner.execute("INSERT INTO processor.log_accounts (account_id, opened_at, head_seq, next_number, erasing_at) "
                      "VALUES (%s, now(), 0, 1, %s)", [ACCOUNT, erasing_at])  # fmt: skip
        try:
            with signed_in(database, "CLOUDPRIV_ERASER_DATABASE_URL") as eraser:
                yield eraser
        finally:
            owner.execute("DELETE FROM processor.log_accounts")


def role_names(database: TestDatabase) -> dict[str, str]:
    """What each role is called."""
    found = {}
    for variable in ROLES:
        with signed_in(database, variable) as connection:
            found[variable] = connection.info.user
    return found


@pytest.mark.parametrize("variable", ROLES)
def test_no_role_becomes_another_or_takes_hold_of_it(database: TestDatabase, variable: str) -> None:
    names = role_names(database)
    others = [sql.Identifier(name) for of, name in names.items() if of != variable]
    ways = (
        "SET ROLE {other}",
        "SET SESSION AUTHORIZATION {other}",
        "GRANT {other} TO CURRENT_USER",
        "ALTER ROLE {other} PASSWORD 'known'",
        "ALTER ROLE {other} SUPERUSER",
        "DROP ROLE {other}",
        "REASSIGN OWNED BY {other} TO CURRENT_USER",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT ALL ON TABLES TO CURRENT_USER",
    )
    with signed_in(database, variable) as connection:
        tried = [sql.SQL(way).format(other=other) for other in others for way in ways]
        assert [each.as_string(connection) for each in tried if not is_refused(connection, each)] == []


@pytest.mark.parametrize("variable", ROLES)
def test_nobody_makes_anything_in_the_other_planes_schema_or_takes_it(database: TestDatabase, variable: str) -> None:
    schema = sql.Identifier(SCHEMAS[OTHER[ROLES[variable]]])
    ways = (
        "CREATE TABLE {schema}.planted ()",
        "CREATE VIEW {schema}.planted AS SELECT 1",
        "CREATE FUNCTION {schema}.planted() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE TYPE {schema}.planted AS ENUM ()",
        "DROP SCHEMA {schema} CASCADE",
        "ALTER SCHEMA {schema} RENAME TO planted",
        "ALTER SCHEMA {schema} OWNER TO CURRENT_USER",
    )
    with signed_in(database, variable) as connection:
        tried = [sql.SQL(way).format(schema=schema) for way in ways]
        assert [each.as_string(connection) for each in tried if not is_refused(connection, each)] == []


@pytest.mark.parametrize("variable", ROLES)
def test_no_role_leaves_the_database_by_the_server(database: TestDatabase, variable: str) -> None:
    ways = (
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')",
        "CREATE TABLE pg_temp.taken (line text); COPY pg_temp.taken FROM PROGRAM 'id'",
        "SELECT rolpassword FROM pg_authid",
        "SELECT stavalues1 FROM pg_statistic",
        "CREATE FOREIGN DATA WRAPPER planted",
        "CREATE FUNCTION pg_temp.planted() RETURNS int LANGUAGE c AS 'libc', 'getpid'",
    )
    with signed_in(database, variable) as connection:
        assert [way for way in ways if not is_refused(connection, sql.SQL(way))] == []
