"""`cloudpriv keys`: which key-encryption keys are in use, and their rotation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import click
from sqlalchemy import Table

from cloudpriv.commands.context import (
    as_json,
    chosen_planes,
    chosen_stack,
    controller_services,
    fail,
    of_planes,
    operator,
    processor_services,
    report,
)
from cloudpriv.controller.tables import AccountKey
from cloudpriv.database import PlaneName
from cloudpriv.platform import rotation
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.db import Plane
from cloudpriv.processor.tables import LogKey

SHOWN: Final = 20  # accounts in one line


class Keys(NamedTuple):
    """A plane, and the table of its data keys."""

    plane: Plane
    table: Table


@click.group()
def keys() -> None:
    """Key-encryption keys and their rotation."""


@keys.command("show")
@of_planes
@as_json
@click.pass_context
def show_keys(ctx: click.Context, plane: str | None, json_output: bool) -> None:
    """Show how many accounts' data keys each key-encryption key wraps: one that wraps none is needed for backups alone."""
    rows = []
    with chosen_stack(ctx):
        for name in chosen_planes(ctx, plane):
            with _of(name) as known, known.plane.transaction(operator(), utc_now(), read_only=True) as tx:
                ring, found = known.plane.keys, rotation.counts(tx, known.table)
            rows += [
                {"plane": name, "key": key, "active": key == ring.active, "in_keyring": key in ring.keys, "accounts": number}
                for key, number in sorted({**dict.fromkeys(ring.keys, 0), **found}.items())
            ]
    report(rows, json_output)


@keys.command()
@of_planes
@click.pass_context
def rewrap(ctx: click.Context, plane: str | None) -> None:
    """Wrap all data keys under the active key-encryption key, after which former ones may be destroyed (docs/keys.md)."""
    unreadable = 0
    with chosen_stack(ctx):
        for name in chosen_planes(ctx, plane):
            with _of(name) as known:
                done = rotation.rewrap(known.plane, known.table, operator(), utc_now)
                click.echo(f"{name}: {done.number} data keys were wrapped under {known.plane.keys.active}.")
            unreadable += len(done.unreadable)
            for account_id in done.unreadable[:SHOWN]:
                click.echo(f"{name}: no key of the keyring opens the data key of account {account_id}.", err=True)
    if unreadable:
        fail(f"{unreadable} data keys were left as they are.")


@contextmanager
def _of(name: PlaneName) -> Iterator[Keys]:
    if name == "controller":
        with controller_services("migration") as built:
            yield Keys(built.controller, AccountKey.__table__)  # type: ignore[arg-type]  # a table, typed as any selectable
    else:
        with processor_services("migration") as built_processor:
            yield Keys(built_processor.plane, LogKey.__table__)  # type: ignore[arg-type]  # as above
