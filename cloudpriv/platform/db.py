"""PostgreSQL: one engine a plane, one way to run a transaction, and the unit of work that services are handed."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from typing import cast as typed
from uuid import UUID

import psycopg
import structlog
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Engine, MetaData, create_engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session

from cloudpriv.platform.actor import Actor
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.keys import Keyring

log = structlog.get_logger(__name__)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
CONTROLLER_SCHEMA = "public"
PROCESSOR_SCHEMA = "processor"  # where the processor plane's tables are, in the same database as the other's or its own
# 25P03: an export waited longer for the object store than a session may idle in a transaction.
RETRYABLE = frozenset({"25P03", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "08006", "08001"})


class ControllerBase(DeclarativeBase):
    """Tables of the controller plane's database."""

    metadata = MetaData(naming_convention=NAMING)


class ProcessorBase(DeclarativeBase):
    """Tables of the processor plane's database: no table, key or role is common to both."""

    metadata = MetaData(naming_convention=NAMING)


@dataclass(frozen=True)
class Tx:
    """One unit of work: one transaction, on behalf of one actor, at one time.

    Services take it as their first argument, and neither commit nor roll back. `wake` names jobs that are enqueued once the
    transaction has committed; should that fail, the sweep finds their rows.
    """

    connection: Connection
    keys: Keyring
    actor: Actor
    now: datetime
    request_id: UUID | None = None
    wake: list[tuple[str, UUID]] = field(default_factory=list)
    endings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _sessions: list[Session] = field(default_factory=list)

    def on_behalf_of(self, actor: Actor) -> "Tx":
        """The same unit of work, on behalf of somebody who has shown in it who they are."""
        return replace(self, actor=actor)

    @property
    def session(self) -> Session:
        """Rows as objects in this transaction. Made when first asked for: what only reads columns does without."""
        if not self._sessions:
            self._sessions.append(Session(self.connection, expire_on_commit=False))
        return self._sessions[0]

    def append(self, statement: str, row: dict[str, Any]) -> None:
        """Have `statement` executed with `row` when the unit of work ends, together with others of the same."""
        self.endings.setdefault(statement, []).append(row)

    def fetch_one(self, statement: str, values: dict[str, Any]) -> Any | None:
        """The row that psycopg's `statement` finds, with columns as attributes, or None.

        For the few statements that every request makes: it costs a third of what building and mapping the same one does.
        """
        with self._driver().cursor(row_factory=namedtuple_row) as cursor:
            return cursor.execute(statement, values).fetchone()

    def end(self) -> None:
        """Send what was changed on objects, then what was appended: the last acts of the transaction."""
        for session in self._sessions:
            session.flush()
        for statement, rows in self.endings.items():
            with self._driver().cursor() as cursor:
                # Nearly every request ends with one event: the short way, which costs half of preparing for many.
                cursor.execute(statement, rows[0]) if len(rows) == 1 else cursor.executemany(statement, rows)

    def close(self) -> None:
        """Let go of all objects."""
        for session in self._sessions:
            session.close()

    def _driver(self) -> "psycopg.Connection[Any]":
        return typed(psycopg.Connection[Any], self.connection.connection.driver_connection)


@dataclass(frozen=True)
class Plane:
    """A plane's database and keys, and the only place where transactions begin and end."""

    engine: Engine
    keys: Keyring
    enqueue: Callable[[str, UUID], None]

    @contextmanager
    def transaction(
        self, actor: Actor, now: datetime, *, request_id: UUID | None = None, read_only: bool = False
    ) -> Iterator[Tx]:
        """Commit when the block ends, roll back when it raises.

        `read_only` gives one repeatable-read snapshot that cannot write. Raises BusyError when Postgres is away or the
        transaction lost a race that it would win when run again.
        """
        with translated_faults(), self.engine.connect() as connection:
            if read_only:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                tx = Tx(connection, self.keys, actor, now, request_id)
                with closing(tx), _pool_renewed_when_broken(connection):
                    yield tx
                    tx.end()
        for job, subject in tx.wake:
            self.enqueue(job, subject)

    @contextmanager
    def statement(self, actor: Actor, now: datetime, *, request_id: UUID | None = None) -> Iterator[Tx]:
        """A unit of work of exactly one statement by `fetch_one`, which PostgreSQL makes a transaction by itself.

        For the reads that backends make most: beginning and committing are two round trips of three. Raises BusyError.
        """
        alone = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with translated_faults(), alone.connect() as connection, _pool_renewed_when_broken(connection):
            yield Tx(connection, self.keys, actor, now, request_id)


@contextmanager
def _pool_renewed_when_broken(connection: Connection) -> Iterator[None]:
    """When PostgreSQL went away, have all older connections replaced, instead of failing a request on each.

    SQLAlchemy does so when it sees the fault itself: one more statement on the broken connection shows it.
    """
    try:
        yield
    except psycopg.OperationalError:
        if typed("psycopg.Connection[Any]", connection.connection.driver_connection).broken:
            with suppress(DBAPIError):
                connection.exec_driver_sql("SELECT 1")
        raise


@contextmanager
def translated_faults() -> Iterator[None]:
    """Turn a lost connection, a deadlock and their like into BusyError; statements and values are never repeated."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as fault:
        cause = fault.orig if isinstance(fault, DBAPIError) else fault
        state = getattr(cause, "sqlstate", None)
        if not (isinstance(cause, psycopg.OperationalError) or state in RETRYABLE):
            raise
        log.warning("database_away", sqlstate=state)
        raise BusyError from None


def database_time(tx: Tx) -> datetime:
    """What PostgreSQL's host says the time is."""
    now: datetime = tx.connection.execute(select(func.clock_timestamp())).scalar_one()
    return now


def violated_constraint(fault: DBAPIError) -> str | None:
    """The name of the constraint that an IntegrityError broke."""
    diagnostics = getattr(fault.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)


def connect(url: str, *, pool_size: int, schema: str = CONTROLLER_SCHEMA) -> Engine:
    """An engine whose pool never waits long, whose sessions are UTC, and whose errors carry no parameter values."""
    options = f"-c search_path={schema} -c TimeZone=UTC -c lock_timeout=20s -c idle_in_transaction_session_timeout=60s"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=10,
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={"options": options},
    )
