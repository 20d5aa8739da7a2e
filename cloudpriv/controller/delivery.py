"""The delivery of the outbox's mails: each is written as it is sent, and tried until it is taken or given up.

A mail is never lost: its row says when it is tried next, and every attempt first puts that off, so whoever dies in one is
followed by the next. It may be delivered twice, when a worker dies or loses the database between the server's answer and its
own commit; both carry the same Message-ID.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Select, and_, or_, select

from cloudpriv import mail_templates
from cloudpriv.audit import events
from cloudpriv.controller import accounts, credentials, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.outbox import ADDRESSEE, Mail
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.mail import MailDelayedError, Mailer, MailRefusedError, compose

Values = Mapping[str, mail_templates.Value]

log = structlog.get_logger(__name__)

FIRST_PAUSE: Final = timedelta(minutes=3)  # longer than an attempt: a dozen answers of the server, 10 s each at most
ATTEMPTS: Final = 10  # with pauses that double, over 25.5 hours
NOT_AGAIN_WITHIN: Final = timedelta(minutes=5)  # so that asking on and on does not flood a person's mailbox
AT_ONCE: Final = 1000
ACTIONS: Final = {"sent": "mail.send", "failed": "mail.fail", "dropped": "mail.drop"}
NO_ADDRESS: Final = frozenset({"nobody", "no_address"})  # reasons to drop a mail that was needed
SERVICE_NAMES: Final = {"talk2m": "Talk2M", "intesis": "Intesis"}


@dataclass(frozen=True)
class Letter:
    """Whom a mail goes to, in which language, the values of its kind's texts in mail_templates, and headers of its own."""

    address: str
    locale: str | None
    values: Values
    headers: Mapping[str, str] = field(default_factory=dict)


# How mails of a kind are written, as they are sent. May raise DroppedError.
Writer = Callable[[Tx, Mail], Letter]
# What a kind of mail has to say to a person of an account, beside whom it greets. May raise DroppedError.
Content = Callable[[Tx, OpenedAccount, Mail], Values]


class DroppedError(Exception):
    """There is nobody to send the mail to, or nothing to say; `reason` says which."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Attempt:
    """A worker's attempt at a mail; the number tells it from those of others."""

    mail_id: UUID
    number: int


def to_addressee(content: Content) -> Writer:
    """Mails to the address that came along with the mail. They greet nobody: whose it was is gone, or was somebody else."""

    def write(tx: Tx, mail: Mail) -> Letter:
        if mail.account_id is None or mail.addressee is None:
            raise DroppedError("nobody")
        try:
            account = accounts.find_account(tx, mail.account_id)
        except NotFoundError:
            raise DroppedError("nobody") from None
        addressee = account.key.open(mail.mail_id, ADDRESSEE, mail.addressee)
        values = {**_of_account(account), **content(tx, account, mail)}
        return Letter(addressee["email"], addressee["locale"], values)

    return write


def to_person(content: Content) -> Writer:
    """Mails that greet a person of the account, at the registered address and in the person's language."""

    def write(tx: Tx, mail: Mail) -> Letter:
        if mail.account_id is None or mail.person_id is None:
            raise DroppedError("nobody")
        _check_not_again(tx, mail)
        try:
            account = accounts.find_account(tx, mail.account_id)
            identity = people.open_identity(account.key, people.find_person(tx, mail.account_id, mail.person_id))
        except NotFoundError:  # the account's key is gone: its erasure has begun
            raise DroppedError("nobody") from None
        values = {
            "greeted": identity["name"] or identity["username"],
            **_of_account(account),
            **content(tx, account, mail),
        }
        return Letter(identity["email"] or "", identity["locale"], values)

    return write


def deliver(plane: Plane, mailer: Mailer, mail_id: UUID, clock: Callable[[], datetime],
            writers: Mapping[str, Writer] | None = None) -> None:  # fmt: skip
    """Send a mail if its time has come, and mark it sent, dropped, put off, or failed; nothing to do for any other.

    `writers` has the kinds of mail whose content the layers above know. It fails when the server refuses it for good, or
    after ATTEMPTS. Raises BusyError when the database is away.
    """
    attempt = _claim(plane, mail_id, clock())
    if attempt is None:
        return
    try:
        mailer.send(_written(plane, mailer, mail_id, clock(), {**WRITERS, **(writers or {})}))
    except DroppedError as fault:
        _conclude(plane, attempt, clock(), "dropped", fault.reason)
    except MailRefusedError as fault:
        _conclude(plane, attempt, clock(), "failed", fault.code)
    except MailDelayedError as fault:
        _conclude(plane, attempt, clock(), "failed" if attempt.number >= ATTEMPTS else "queued", fault.code)
    else:
        _conclude(plane, attempt, clock(), "sent", None)


def was_just_sent(tx: Tx, kind: str, account_id: UUID, person_id: UUID, subject_id: UUID) -> bool:
    """Whether such a mail was sent so short a time ago that no other follows."""
    same = _same(kind, account_id, person_id, subject_id)
    return tx.session.scalar(same.where(_sent_just_now(tx)).limit(1)) is not None


def record_bounce(tx: Tx, mail_id: UUID, status: str) -> bool:
    """Mark a mail failed that was taken by the server and came back later, with the code (RFC 3463) that says why.

    False, and nothing done, for one that is not known, or not any more, or has ended otherwise.
    """
    handed_over = or_(Mail.status == "sent", and_(Mail.status == "queued", Mail.attempts > 0))
    mail = tx.session.scalar(select(Mail).where(Mail.mail_id == mail_id, handed_over).with_for_update())
    if mail is None:
        return False
    mail.status, mail.failure, mail.addressee = "failed", f"bounced_{status}", None
    log.info("mail", mail=str(mail_id), kind=mail.kind, status="failed", failure=mail.failure, attempts=mail.attempts)
    if mail.account_id is not None:
        events.record(tx, "mail.bounce", account_id=mail.account_id, subject_id=mail.person_id)
    return True


def unfinished(tx: Tx) -> list[UUID]:
    """Mails whose time has come, longest waiting first."""
    query = select(Mail.mail_id).where(Mail.status == "queued", Mail.next_try_at <= tx.now)
    return list(tx.session.scalars(query.order_by(Mail.next_try_at).limit(AT_ONCE)))


def _claim(plane: Plane, mail_id: UUID, now: datetime) -> Attempt | None:
    """Take the mail and put its next attempt off; None for one that has ended or that another worker took."""
    with plane.transaction(WORKER, now) as tx:
        query = select(Mail).where(Mail.mail_id == mail_id, Mail.status == "queued", Mail.next_try_at <= now)
        mail = tx.session.scalar(query.with_for_update(skip_locked=True))
        if mail is None:
            return None
        if mail.attempts >= ATTEMPTS:  # the last was not concluded
            _mark(tx, mail, "failed", "interrupted")
            return None
        mail.next_try_at = now + FIRST_PAUSE * 2**mail.attempts
        mail.attempts += 1
        return Attempt(mail_id, mail.attempts)


def _written(plane: Plane, mailer: Mailer, mail_id: UUID, now: datetime, writers: Mapping[str, Writer]) -> EmailMessage:
    """The message as it is to be sent now. Raises DroppedError."""
    with plane.transaction(WORKER, now, read_only=True) as tx:
        mail = tx.session.get(Mail, mail_id)
        if mail is None:
            raise DroppedError("nobody")
        kind, letter = mail.kind, writers[mail.kind](tx, mail)
    subject, body = mail_templates.filled_in(kind, letter.locale, letter.values)
    try:
        return compose(
            mail_id, now, sender=mailer.sender, recipient=letter.address, subject=subject, body=body, headers=letter.headers
        )
    except ValueError:
        raise DroppedError("no_address") from None


def _of_account(account: OpenedAccount) -> Values:
    return {"service": SERVICE_NAMES[account.row.service], "account": account.profile["account_name"]}


def _hint(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
    hint = None if mail.person_id is None else credentials.open_hint(tx, account, mail.person_id)
    if hint is None:
        raise DroppedError("no_hint")
    return {"hint": hint}


WRITERS: Final[Mapping[str, Writer]] = {"hint": to_person(_hint)}


def _check_not_again(tx: Tx, mail: Mail) -> None:
    """Raises DroppedError when the person was sent the same kind of mail about the same a moment ago."""
    same = _same(mail.kind, mail.account_id, mail.person_id, mail.subject_id)
    if tx.session.scalar(same.where(_sent_just_now(tx)).limit(1)) is not None:
        raise DroppedError("sent_before")


def _same(kind: str, account_id: UUID | None, person_id: UUID | None, subject_id: UUID | None) -> Select[UUID]:
    query = select(Mail.mail_id).where(Mail.account_id == account_id, Mail.person_id == person_id)
    return query.where(Mail.kind == kind, Mail.subject_id.is_not_distinct_from(subject_id))


def _sent_just_now(tx: Tx) -> ColumnElement[bool]:
    return Mail.sent_at > tx.now - NOT_AGAIN_WITHIN


def _conclude(plane: Plane, attempt: Attempt, now: datetime, status: str, failure: str | None) -> None:
    """Mark how the attempt ended, unless another has begun since or the account was erased."""
    with plane.transaction(WORKER, now) as tx:
        query = select(Mail).where(Mail.mail_id == attempt.mail_id, Mail.status == "queued", Mail.attempts == attempt.number)
        mail = tx.session.scalar(query.with_for_update())
        if mail is not None:
            _mark(tx, mail, status, failure)


def _mark(tx: Tx, mail: Mail, status: str, failure: str | None) -> None:
    mail.status, mail.failure = status, failure
    mail.sent_at = tx.now if status == "sent" else None
    log.info("mail", mail=str(mail.mail_id), kind=mail.kind, status=status, failure=failure, attempts=mail.attempts)
    if status != "queued":
        mail.addressee = None
    if status != "queued" and mail.account_id is not None:
        action = "mail.no_address" if status == "dropped" and failure in NO_ADDRESS else ACTIONS[status]
        events.record(tx, action, account_id=mail.account_id, subject_id=mail.person_id)
