"""Commands about the mail that the service sends."""

import os
import sys
from typing import Any, Final

import click
import structlog
from sqlalchemy.exc import OperationalError

from cloudpriv.commands.context import SchemaError, services
from cloudpriv.controller import delivery
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.bounces import LARGEST, Bounce, read_bounce
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.logs import configure_logging

log = structlog.get_logger(__name__)

CHUNK: Final = 1 << 16


@click.group()
def mail() -> None:
    """Mail that the service sends."""


@mail.command()
@click.pass_context
def bounce(ctx: click.Context) -> None:
    """Record a mail that came back: a delivery status notification on standard input, as a mail server's alias pipes it.

    Whatever else is piped in is left alone, with exit code 0. Code 75 asks the mail server to try again later.
    """
    configure_logging("INFO")
    found = read_bounce(_input())
    if found is None:
        log.info("bounce_ignored", reason="unreadable")
        return
    try:
        _record(ctx, found)
    except (BusyError, OperationalError, SchemaError) as fault:
        log.warning("bounce_put_off", fault=type(fault).__name__)
        sys.exit(os.EX_TEMPFAIL)


def _record(ctx: click.Context, found: Bounce) -> None:
    with services(ctx, "worker") as built, built.controller.transaction(WORKER, built.clock()) as tx:
        if not delivery.record_bounce(tx, found.mail_id, found.status):
            log.info("bounce_ignored", reason="unknown", mail=str(found.mail_id))


def _input() -> bytes:
    """What is piped in, as much as matters; the rest is read too, since a pipe closed early looks like a failure."""
    source: Any = sys.stdin.buffer
    head: bytes = source.read(LARGEST)
    while source.read(CHUNK):
        pass
    return head
