"""`mail bounce` as a mail server calls it: a process of its own, fed through a pipe, judged by its exit code."""

import os
import subprocess
import sys
from uuid import UUID

import pytest
from sqlalchemy import Engine, insert, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.ids import new_id
from tests.bounces import report
from tests.factories import NOW
from tests.stack import TestDatabase


def pipe(database: TestDatabase, message: bytes, **changed: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cloudpriv.cli", "mail", "bounce"]
    environment = {**database.environment(), **changed}
    return subprocess.run(command, input=message, env=environment, capture_output=True, timeout=60, check=False)


def send(owner: Engine) -> UUID:
    """A mail that was sent."""
    mail_id = new_id()
    row = {"mail_id": mail_id, "kind": "hint", "status": "sent", "attempts": 1, "created_at": NOW, "next_try_at": NOW,
           "sent_at": NOW}  # fmt: skip
    with owner.begin() as connection:
        connection.execute(insert(Mail), row)
    return mail_id


def standing(owner: Engine) -> list[tuple[str, str | None]]:
    with owner.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT status, failure FROM outbox"))]


def test_a_report_is_recorded_quietly(database: TestDatabase, owner_engine: Engine) -> None:
    ended = pipe(database, report(send(owner_engine), status="5.2.2"))
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert standing(owner_engine) == [("failed", "bounced_5.2.2")]
    assert b"example" not in ended.stderr, "no address is logged"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (report(new_id()), b'"reason":"unknown"'),
        (b"From: kim@example.com\n\nStop sending me this!\n", b'"reason":"unreadable"'),
        (b"", b'"reason":"unreadable"'),
        (b"\x00" * (3 << 20), b'"reason":"unreadable"'),
    ],
    ids=["unknown", "answer", "empty", "large"],
)
def test_whatever_else_is_piped_in_is_left_alone(
    database: TestDatabase, owner_engine: Engine, message: bytes, reason: bytes
) -> None:
    send(owner_engine)
    ended = pipe(database, message)
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (0, b"", 1)
    assert reason in ended.stderr
    assert b"kim@example.com" not in ended.stderr
    assert standing(owner_engine) == [("sent", None)]


def test_a_database_that_is_away_asks_the_mail_server_to_come_again(database: TestDatabase, services: Services) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    ended = pipe(database, report(new_id()), CLOUDPRIV_WORKER_DATABASE_URL=nowhere)
    assert (ended.returncode, ended.stdout) == (os.EX_TEMPFAIL, b"")
    assert b"Traceback" not in ended.stderr
