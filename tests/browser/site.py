"""What the browser visits: `serve --embedded` with all its processes, a mail server, and a way to what is behind it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy import text as sql

from cloudpriv import config
from cloudpriv.bootstrap import Services, build
from cloudpriv.commands.context import environment
from cloudpriv.config import Role
from cloudpriv.embedded.joining import RECORD
from cloudpriv.platform import db
from cloudpriv.platform.actor import OPERATOR, Actor
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy
from cloudpriv.portal import said
from tests.flows.test_embedded_planes import two_free_ports
from tests.mailbox import SENDER, Mailbox
from tests.patience import PATIENCE

Found = TypeVar("Found")
WAITS = "cloudpriv:wait:*"  # counts of attempts in Redis


@dataclass(frozen=True)
class Site:
    """A running installation: its address, its mail, and its services in this process too."""

    url: str
    folder: Path
    mailbox: Mailbox
    services: Services
    worker: Services
    owner: Engine
    paths: dict[str, str] = field(default_factory=dict)  # parts of addresses, by what they lead to

    @contextmanager
    def transaction(self, actor: Actor = OPERATOR, ago: timedelta = timedelta()) -> Iterator[Tx]:
        """A unit of work, now or as if it were before."""
        with self.services.controller.transaction(actor, datetime.now(UTC) - ago) as tx:
            yield tx

    @property
    def policy(self) -> Policy:
        """The policy that it keeps."""
        return self.services.policy

    def forget_attempts(self) -> None:
        """Let nobody wait for what was tried before."""
        for key in self.services.redis.scan_iter(WAITS):
            self.services.redis.delete(key)

    def forget_password_of(self, account_id: UUID) -> None:
        """As if everybody who is signed in to an account had given the password too long ago."""
        long_ago = "UPDATE holder_sessions SET password_at = now() - interval '6 minutes' WHERE account_id = :id"
        with self.owner.begin() as connection:
            connection.execute(sql(long_ago), {"id": account_id})

    def saying(self, person_id: UUID, path: str, *words: str) -> str:
        """The address that has a page say words to a person in the session that they began last."""
        latest = "SELECT session_id FROM holder_sessions WHERE person_id = :id ORDER BY created_at DESC LIMIT 1"
        with self.owner.connect() as connection:
            session_id = connection.scalar(sql(latest), {"id": person_id})
        return said.address(self.services.controller.keys, session_id, path, words, utc_now())

    def command(self, *words: str) -> str:
        """What a command line says on the same folder, once it has ended well."""
        line = [sys.executable, "-m", "cloudpriv.cli", "--embedded", str(self.folder), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def mail_to(self, address: str, fits: Callable[[str], bool], after: int = 0) -> str:
        """The text of the latest mail to an address that fits, of those from number `after` on, once it is there."""

        def found() -> str | None:
            sent = [text(each) for each in self.mailbox.received[after:] if each["To"] == address]
            return next((each for each in reversed(sent) if fits(each)), None)

        return until(found, f"a mail to {address}")


def text(message: EmailMessage) -> str:
    """The words of a mail."""
    return str(message.get_content()).replace("\r\n", "\n")


def until(look: Callable[[], Found | None], what: str) -> Found:
    """What is found at last."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.1)
    return found


@contextmanager
def served(folder: Path, mailbox: Mailbox, policy: Path, next_policy: Path) -> Iterator[Site]:
    """`serve --embedded` in this folder under this policy and the next one, up when this begins and ended when it ends."""
    port, _ = two_free_ports()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "CLOUDPRIV_SMTP_URL": mailbox.url,
        "CLOUDPRIV_MAIL_FROM": SENDER,
        "CLOUDPRIV_POLICY_FILE": str(policy),
        "CLOUDPRIV_NEXT_POLICY_FILE": str(next_policy),
        "CLOUDPRIV_LOG_LEVEL": "WARNING",
        "CLOUDPRIV_PROCESSOR_LOG_LEVEL": "WARNING",
    }
    words = ["serve", "--embedded", str(folder), "--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "cloudpriv.cli", *words]
    with subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert url in said, "it did not start; its messages are above"
            record = json.loads((folder / RECORD).read_text())
            known = environment(record["environment"] | settings | {"CLOUDPRIV_ISSUER": url})
            with known, joined("api") as services, joined("worker") as worker, owning() as owner:
                yield Site(url, folder, mailbox, services, worker, owner)
        finally:
            process.terminate()
            process.wait(PATIENCE)


@contextmanager
def joined(role: Role) -> Iterator[Services]:
    """The services of a process of this role, by the settings of the environment."""
    built = build(config.load(role), now=utc_now)
    try:
        yield built
    finally:
        built.controller.engine.dispose()
        if built.eraser is not None:
            built.eraser.engine.dispose()
        built.redis.close()


@contextmanager
def owning() -> Iterator[Engine]:
    """The engine of the database's owner, who may set what only time would."""
    engine = db.connect(config.load("migration").database_url, pool_size=2)
    try:
        yield engine
    finally:
        engine.dispose()
