"""Fixtures of the DataMailbox API's tests: a program, and a device that sent points."""

from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import update

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.tables import LogDevice
from tests.dmweb import MINUTE, Program
from tests.factories import NOW
from tests.logdata import Caller, log_transaction
from tests.senders import Sender, point


@pytest.fixture
def program(log_app: Flask, reader: Caller) -> Program:
    """A program with a reader token."""
    return Program(log_app, reader.token)


@pytest.fixture
def pump(log_app: Flask, processor: ProcessorServices, log_account: UUID) -> Sender:
    """A device that sent points of every kind."""
    sender = Sender(processor, log_account)
    sender.send(
        [
            point(21.5, NOW - 2 * MINUTE, "temperature", unit="°C"),
            point(22.25, NOW - MINUTE, "temperature", quality="uncertain"),
            point(7, NOW - MINUTE, "starts"),
            point(True, NOW - MINUTE, "running"),
            point("idle", NOW - MINUTE, "state"),
        ]
    )
    with log_transaction(processor) as tx:  # the database's clock told when it was
        tx.session.execute(update(LogDevice).values(last_point_at=NOW))
    return sender
