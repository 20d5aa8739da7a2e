"""From the schedule to an owner's mailbox, and only a week later to the erasure: real processes, a real mail server."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from email.message import EmailMessage
from uuid import UUID

from sqlalchemy import Engine, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account
from cloudpriv.platform.clock import utc_now
from tests.bounces import report
from tests.factories import make_account, make_person
from tests.flows.test_worker import process, wait_until
from tests.mailbox import SENDER, Mailbox, mail_server
from tests.patience import PATIENCE
from tests.purges import let_traffic_come
from tests.stack import TestDatabase

SEVEN_YEARS = timedelta(days=7 * 365 + 2)


@contextmanager
def at_work(database: TestDatabase, mailbox: Mailbox) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A schedule that may begin erasures, and a worker, with this mail server."""
    environment = {
        **database.environment("controller"),
        "CLOUDPRIV_SMTP_URL": mailbox.url,
        "CLOUDPRIV_MAIL_FROM": SENDER,
        "CLOUDPRIV_PURGE_AUTOMATICALLY": "true",
    }
    with ExitStack() as running:
        yield [running.enter_context(process(command, environment)) for command in ("worker", "schedule")]


def make_owned(services: Services, idle_for: timedelta, email: str, locale: str) -> UUID:
    account_id = make_account(services, created_at=utc_now() - idle_for).row.account_id
    make_person(services, account_id, email=email, locale=locale)
    return account_id


def mail_to(mailbox: Mailbox, address: str) -> tuple[EmailMessage, str]:
    [found] = [(got, body) for got, body in zip(mailbox.received, mailbox.texts(), strict=True) if got["To"] == address]
    return found[0], " ".join(found[1].split())


def scalars(owner: Engine, statement: str) -> list[object]:
    with owner.connect() as connection:
        return list(connection.scalars(text(statement)))


def bounce(database: TestDatabase, mail_id: UUID) -> None:
    command = [sys.executable, "-m", "cloudpriv.cli", "mail", "bounce"]
    subprocess.run(command, input=report(mail_id), env=database.environment("controller"), check=True, timeout=PATIENCE)


def test_owners_are_told_by_mail_and_nothing_is_erased_before_their_last_week_is_over(
    services: Services, database: TestDatabase, owner_engine: Engine
) -> None:
    overdue = make_owned(services, SEVEN_YEARS + timedelta(days=100), "overdue@example.com", "es")
    coming = make_owned(services, SEVEN_YEARS - timedelta(days=60), "coming@example.com", "sv-SE")
    make_owned(services, timedelta(days=400), "busy@example.com", "fr")
    let_traffic_come(owner_engine, utc_now())
    planned = "SELECT count(*) FROM duties WHERE name = 'plan_due' AND done_at IS NOT NULL"
    with mail_server() as mailbox:
        with at_work(database, mailbox) as processes:
            wait_until(lambda: len(mailbox.received) == 2 and scalars(owner_engine, planned) == [1], *processes)
        got, body = mail_to(mailbox, "overdue@example.com")
        assert got["Subject"].startswith("Su cuenta de Talk2M")
        [given_at] = scalars(owner_engine, "SELECT given_at FROM notices WHERE days = 7")
        assert isinstance(given_at, datetime)
        assert f"como pronto, el {(given_at + timedelta(days=7)).day} de " in body
        assert "Ditt Talk2M-konto" in mail_to(mailbox, "coming@example.com")[0]["Subject"]
        assert scalars(owner_engine, "SELECT count(*) FROM purges") == [0], "its owners have not had their week"
        bounce(database, UUID(got["Message-ID"].strip("<>").partition("@")[0]))
        with owner_engine.begin() as connection:  # a week passes
            connection.execute(text("UPDATE notices SET given_at = given_at - interval '7 days'"))
            connection.execute(text("DELETE FROM duties"))
        with at_work(database, mailbox) as processes:
            wait_until(lambda: scalars(owner_engine, "SELECT status FROM purges") == ["done"], *processes)
    assert len(mailbox.received) == 2, "nobody is told twice"
    with owner_engine.connect() as connection:
        left = set(connection.scalars(select(Account.account_id)))
        mails = [tuple(row) for row in connection.execute(select(Mail.account_id, Mail.status))]
    assert (overdue in left, coming in left, len(left)) == (False, True, 2)
    assert mails == [(coming, "sent")]
