"""What every command starts from: the chosen stack, services for a role, one clear line when something is wrong."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from cloudpriv import database
from cloudpriv.bootstrap import ProcessorServices, Services, build, build_processor
from cloudpriv.client.api import ApiError
from cloudpriv.client.csvmap import MapError
from cloudpriv.config import Role, SettingsError, load, load_processor
from cloudpriv.database import PlaneName
from cloudpriv.embedded.errors import StackError
from cloudpriv.embedded.joining import joined
from cloudpriv.embedded.signals import stop_on_sigterm
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import BusyError, DomainError, NotFoundError, RestoredError
from cloudpriv.platform.keys import KeyFault
from cloudpriv.policy.reading import PolicyError
from cloudpriv.processor.storage import restored as log_data_restored
from cloudpriv.retention import restored
from cloudpriv.retention.ledger import LedgerError

EXPECTED: Final = (SettingsError, StackError, DomainError, KeyFault, PolicyError, ApiError, MapError, OSError)
MAY_BEGIN: Final = frozenset({"serve", "upgrade"})  # a mistyped folder must not answer like an empty installation
UNSET: Final = "Environment variable not set."  # as the reader of settings words it
as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON instead of a table.")
of_planes = click.option(
    "--plane",
    type=click.Choice([*database.TABLES, "all"]),
    help="Which of the two planes; by default all of the embedded stack, else the controller's.",
)
screen = Console()


class SchemaError(Exception):
    """The database is not at the revision of this version."""


class Group(click.Group):
    """A group whose commands end with one line and exit code 1 when something expected goes wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; SIGTERM ends it as Ctrl-C does."""
        try:
            with stop_on_sigterm():
                return super().invoke(ctx)
        except SettingsError as fault:
            hint = "" if ctx.obj else "; for the embedded stack give --embedded DIR before the command"
            fail(f"{str(fault).replace(UNSET, 'is not set')}{hint}")
        except (*EXPECTED, SchemaError, LedgerError) as fault:
            fail("There is nothing with that id." if str(fault) == NotFoundError.detail else _reason(fault))
        except OperationalError:
            fail("The database does not answer.")


def _reason(fault: Exception) -> str:
    """What the fault says, and of each value that is not acceptable what is wrong with it."""
    errors = fault.errors if isinstance(fault, DomainError) else ()
    return " ".join([str(fault), *(f"{error.pointer.strip('/')}: {error.detail}" for error in errors)])


def fail(line: str) -> None:
    """Print one line on standard error and exit with 1."""
    click.echo(f"cloudpriv: {line}", err=True)
    sys.exit(1)


@contextmanager
def chosen_stack(ctx: click.Context) -> Iterator[None]:
    """The environment names servers while this lasts: the embedded ones when chosen, else those it named before.

    The embedded stack is joined when another process runs it on the same folder, started and stopped otherwise, and its
    databases brought up to date.
    """
    folder: Path | None = ctx.find_root().obj
    if folder is None:
        yield
        return
    require_stack(folder, may_begin=ctx.info_name in MAY_BEGIN)
    with joined(folder) as servers, environment(servers.environment):
        database.upgrade_named()
        yield


def require_stack(folder: Path, *, may_begin: bool) -> None:
    """Raises StackError for a folder of something else, and for one without a stack when the command may not begin one."""
    if (folder / "credentials.json").exists():
        return
    if not may_begin:
        raise StackError(f"there is no embedded stack in {folder}: begin one with `cloudpriv serve --embedded {folder}`")
    # A start that was killed at once leaves its lock.
    if folder.exists() and any(entry.name != "lock" for entry in folder.iterdir()):
        raise StackError(f"{folder} is not empty and holds no embedded stack")


def chosen_planes(ctx: click.Context, given: str | None) -> tuple[PlaneName, ...]:
    """The planes that a command is for: those `given` with --plane, by default both of an embedded stack, else the one."""
    chosen = given or ("controller" if ctx.find_root().obj is None else "all")
    return tuple(plane for plane in database.TABLES if chosen in (plane, "all"))


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment while this lasts: what the command line chose wins over what was set before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def services(ctx: click.Context, role: Role) -> Iterator[Services]:
    """Services of `role` on the chosen stack, on a database that is up to date. Raises SettingsError, SchemaError."""
    with chosen_stack(ctx), controller_services(role) as built:
        yield built


@contextmanager
def controller_services(role: Role) -> Iterator[Services]:
    """The controller plane's services for `role`, as the environment names them. Raises SettingsError, SchemaError."""
    built = build(load(role))
    try:
        require_current_schema(built.controller.engine)
        yield built
    finally:
        built.controller.engine.dispose()
        if built.eraser is not None:
            built.eraser.engine.dispose()
        built.redis.close()


@contextmanager
def processor_services(role: Role) -> Iterator[ProcessorServices]:
    """The processor plane's services for `role`, as the environment names them. Raises SettingsError, SchemaError."""
    built = build_processor(load_processor(role))
    try:
        require_current_schema(built.plane.engine, "processor")
        yield built
    finally:
        built.plane.engine.dispose()
        if built.teller is not None:
            built.teller.engine.dispose()
        built.redis.close()


def require_current_schema(engine: Engine, plane: PlaneName = "controller") -> None:
    """Raises SchemaError unless the database is at the newest revision."""
    found, newest = database.current(engine), database.head(plane)
    if found != newest:
        advice = f"run `cloudpriv db upgrade{'' if plane == 'controller' else ' --plane processor'}`"
        raise SchemaError(f"the database of the {plane} plane is at revision {found}, not {newest}: {advice}")


def require_replayed(built: Services) -> None:
    """Raises RestoredError unless the database knows every erasure that the ledger's bucket tells of, and the bucket its."""
    try:
        restored.require_replayed(built.controller, built.ledger, built.clock)
    except (BusyError, NotFoundError):
        line = "cannot be read, and without it nobody knows whether erased accounts came back with a backup"
        raise RestoredError(f"the erasure ledger in the bucket {built.ledger.bucket} {line}") from None


def require_current(log_data: ProcessorServices) -> None:
    """Raises RestoredError unless the processor plane's database is as new as its bucket knows it, or nobody can tell."""
    try:
        log_data_restored.require_current(log_data.plane, log_data.objects, log_data.clock)
    except (BusyError, NotFoundError):
        line = "cannot be read, and without it nobody knows whether the database came from a backup"
        raise RestoredError(f"the bucket of log data {log_data.objects.bucket} {line}") from None


def operating(built: Services) -> AbstractContextManager[Tx]:
    """A unit of work on the controller plane of whoever sits at this terminal."""
    return built.controller.transaction(operator(), built.clock())


def operator() -> Actor:
    """Who sits at the command line: by the number of the host's account, which says nothing of a person elsewhere."""
    uid = os.environ.get("SUDO_UID") if os.getuid() == 0 else None
    return Actor("operator", f"uid-{uid if uid and uid.isdigit() else os.getuid()}")


def report(rows: list[dict[str, Any]], json_output: bool, *, title: str = "", empty: str = "Nothing.") -> None:
    """Print rows as a JSON array, or as a table whose columns are the first row's members."""
    if json_output:
        click.echo(_as_json(rows))
        return
    if not rows:
        click.echo(empty)
        return
    table = Table(title=title or None, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=isinstance(rows[0][name], UUID))
    for row in rows:
        table.add_row(*[_cell(value) for value in row.values()])
    screen.print(table)


def report_one(row: dict[str, Any], json_output: bool) -> None:
    """Print one thing as a JSON object, or its members line by line."""
    if json_output:
        click.echo(_as_json(row))
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {_cell(value)}".rstrip())


def _as_json(told: Any) -> str:
    """Times as the API gives them (RFC 3339)."""
    return json.dumps(
        told, default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value), ensure_ascii=False
    )


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return _as_json(value)
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
