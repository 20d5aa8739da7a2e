"""SIGKILL at every step of an account's closing: it ends by itself, wholly, and each mail comes as the outbox promises."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from typing import Any, Final

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services, build
from cloudpriv.config import load
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.jobs import queue
from cloudpriv.platform.logs import configure_logging
from cloudpriv.platform.mail import Mailer
from cloudpriv.retention import erase
from cloudpriv.rights import closure, handling, telling
from cloudpriv.rights.closure import COOLING_OFF
from cloudpriv.rights.requests import Identity
from tests.disclosed import disclose, holder
from tests.factories import make_account, make_person, transaction
from tests.mailbox import SENDER, mail_server
from tests.patience import PATIENCE
from tests.purges import rows_of
from tests.stack import TestDatabase
from workers import jobs, schedule
from workers.loop import carry_out

OWNER, RECIPIENT = "kim@example.com", "privacy@distributor.example"
PROCESSES: Final = get_context("forkserver")  # which has none of this process's threads and connections
PROCESSES.set_forkserver_preload([__name__])
ROUNDS: Final = 4  # the plan and its mails, the recipients, and the purge
# Where each dies: of which module or class, in which function of it, and whether that is carried out before.
POINTS: Final[dict[str, tuple[Any, str, bool]]] = {
    "before the purge is planned": (closure, "_plan_over", False),
    "in the transaction that plans it": (closure, "_plan_over", True),
    "once it is planned": (closure, "advance", True),
    "before a last mail is sent": (Mailer, "send", False),
    "once the server took a last mail": (Mailer, "send", True),
    "while recipients are being told": (telling, "notify", True),
    "once recipients are being told": (jobs, "_carry_on", True),
    "in the transaction that shreds the key": (erase, "shred_key", True),
    "after it": (erase, "erase_rows", False),
}
AGE: Final = (
    "UPDATE outbox SET next_try_at = now() - interval '1 second' WHERE status = 'queued'",
    "UPDATE purges SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL",
    "UPDATE duties SET done_slot = NULL, lease_owner = NULL, lease_until = NULL WHERE name IN ('closings', 'recipients')",
)


def dying(done: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """A function in which the process is killed."""

    def die(*given: Any, **named: Any) -> None:
        if after:
            done(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


def work(environment: dict[str, str], point: str) -> None:
    """What schedule and worker do until nothing is left to do, their waits cut short; killed at a point, if one is named."""
    os.environ.update(environment)
    if point:
        where, name, after = POINTS[point]
        setattr(where, name, dying(getattr(where, name), after=after))
    configure_logging("INFO")
    services = build(load("worker"))
    jobs.SERVICES.set(services)
    for _ in range(ROUNDS):
        with services.controller.engine.begin() as connection:
            for statement in AGE:
                connection.execute(text(statement))
        schedule.Schedule().round(services)
        carry_out(queue(services.redis), lambda: None, burst=True)


def started(environment: dict[str, str], point: str = "") -> int | None:
    """Do that in a process of its own; its exit code."""
    child = PROCESSES.Process(target=work, args=(environment, point))
    child.start()
    child.join(PATIENCE)
    return child.exitcode


@pytest.mark.parametrize("point", POINTS)
def test_a_closing_ends_whose_worker_was_killed(
    services: Services, database: TestDatabase, owner_engine: Engine, point: str
) -> None:
    account_id = make_account(services).row.account_id
    owner = make_person(services, account_id, email=OWNER).row.person_id
    disclose(services, account_id, email=RECIPIENT)
    long_ago = utc_now() - COOLING_OFF - timedelta(minutes=1)
    with transaction(services, holder(account_id, owner), long_ago) as tx:
        identity = Identity("password", "holder")
        handling.receive(tx, services.policy, account_id, "erasure", channel="portal", identity=identity)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET status = 'sent', sent_at = now() - interval '14 days'"))
    with mail_server() as mailbox:
        posted = {"CLOUDPRIV_SMTP_URL": mailbox.url, "CLOUDPRIV_MAIL_FROM": SENDER}
        environment = {**database.environment("controller"), **posted}
        assert started(environment, point) == -signal.SIGKILL
        assert started(environment) == 0
    with owner_engine.connect() as connection:
        ended = connection.execute(text("SELECT status, step, certificate_id IS NOT NULL FROM purges")).all()
    assert [tuple(each) for each in ended] == [("done", "done", True)]
    assert rows_of(owner_engine, account_id) == {}
    kinds = {(mail["Message-ID"], mail["To"]) for mail in mailbox.received}
    assert sorted(to for _, to in kinds) == sorted([OWNER, RECIPIENT])
    twice = point == "once the server took a last mail"
    assert len(mailbox.received) == len(kinds) + twice
