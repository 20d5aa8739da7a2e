"""A person who consents, as tests see it: asking by the portal, confirming by the links of mails."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, delivery
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.actor import HOLDER, WORKER, Actor
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents import doors
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox, with_mail
from workers import jobs

URL = "https://cloud.example"
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
WEEK = timedelta(days=7)
NEWS, SURVEYS = "product_news", "surveys"


class Kim:
    """A person of an account, and what they do: asking by the portal, confirming by the links of mails."""

    def __init__(self, services: Services, worker: Services, mailbox: Mailbox, **identity: Any) -> None:
        self.services, self.mailbox = services, mailbox
        self.worker = replace(with_mail(worker, mailbox), settings=replace(worker.settings, issuer=URL))
        self.account = make_account(services).row
        self.account_id = self.account.account_id
        self.person_id = make_person(
            services, self.account_id, **{"username": "kim", "locale": "en", **identity}
        ).row.person_id
        self.actor = Actor("owner", str(self.person_id), "talk2m", frozenset({HOLDER}), self.account_id)

    def ask(self, purpose: str = NEWS, now: datetime = NOW, language: str | None = "en") -> str:
        """Say yes in the portal; how consent stands then."""
        with transaction(self.services, self.actor, now) as tx:
            asked = consents.ask(tx, self.services.policy, self.account_id, self.person_id, purpose, language=language)
            return asked.state

    def withdraw(self, purpose: str = NEWS, now: datetime = NOW) -> None:
        """Withdraw in the portal."""
        with transaction(self.services, self.actor, now) as tx:
            consents.withdraw(tx, self.services.policy, self.account_id, self.person_id, purpose)

    def post(self, now: datetime = NOW) -> list[tuple[str, str, str | None]]:
        """Have every waiting mail tried; how each mail stands."""
        built = replace(self.worker, clock=lambda: now)
        jobs.SERVICES.set(built)
        with transaction(built, now=now) as tx:
            waiting = delivery.unfinished(tx)
        for mail_id in waiting:
            jobs.run_mail(str(mail_id))
        with transaction(built) as tx:
            return [(mail.kind, mail.status, mail.failure) for mail in tx.session.query(Mail).order_by(Mail.mail_id)]

    def link(self, number: int = -1) -> str:
        """The token of the link in a mail that was received."""
        line = next(line for line in self.mailbox.texts()[number].splitlines() if line.strip().startswith(f"{URL}/portal/"))
        return line.rpartition("/")[2]

    def confirm(self, token: str | None = None, now: datetime = NOW) -> doors.Question:
        """Confirm by the link of the last mail."""
        with transaction(self.services, now=now) as tx:
            return doors.confirm(tx, self.services.policy, token or self.link(), lambda _: "en")

    def give(self, purpose: str = NEWS, now: datetime = NOW) -> None:
        """Consent by both acts."""
        self.ask(purpose, now)
        self.post(now)
        self.confirm(now=now)

    def ask_to_withdraw(
        self, purpose: str = NEWS, now: datetime = NOW, *, account_name: str = "", username: str = "kim"
    ) -> None:
        """Fill in the form for who cannot sign in."""
        with transaction(self.services, Actor("client", "unauthenticated", "talk2m"), now) as tx:
            who = {"service": "talk2m", "account_name": account_name or self.name(), "username": username}
            doors.ask_to_withdraw(tx, self.services.policy, purpose, **who)

    def name(self) -> str:
        """The name of the account."""
        with transaction(self.services) as tx:
            return str(accounts.find_account(tx, self.account_id).profile["account_name"])

    def states(self, purpose: str = NEWS) -> list[str]:
        """What happened so far."""
        with transaction(self.services, self.actor) as tx:
            found = consents.read_history(tx, self.account_id, self.person_id)
            return [event.state for event in found if event.purpose == purpose]

    def stands(self, purpose: str = NEWS, now: datetime = NOW) -> tuple[str, datetime | None, bool]:
        """State, since when, and whether consent holds."""
        with transaction(self.services, self.actor, now) as tx:
            found = {each.purpose: each for each in consents.state_of(tx, URL, self.account_id, self.person_id)}
        return found[purpose].state, found[purpose].since, found[purpose].holds  # type: ignore[index]  # a purpose by name

    def expire(self, now: datetime, limit: int = 100) -> int:
        """What the duty does; how many histories it saw to."""
        with transaction(self.worker, WORKER, now) as tx:
            return consents.expire(tx, self.services.policy, limit=limit)
