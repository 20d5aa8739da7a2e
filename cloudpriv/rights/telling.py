"""Telling recipients of data about its rectification, erasure or restriction (GDPR Article 19).

Whoever was ever given data of the categories concerned is told, disclosure by disclosure. A notice is a row: it is told by
mail where the disclosure has an address, else staff tells it. The mail names nobody: the recipient finds the data by the
reference of the disclosure and by ids. The erasure of an account begins once its notices have ended, or after three days.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import and_, exists, insert, or_, select

from cloudpriv import mail_templates
from cloudpriv.audit import events
from cloudpriv.controller import accounts, outbox
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import SERVICE_NAMES, DroppedError, Letter, Writer
from cloudpriv.controller.holder_tables import DISCLOSURE, Disclosure
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account
from cloudpriv.platform.clock import APART
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import KeyFault
from cloudpriv.platform.mail import check_address
from cloudpriv.policy.register import Policy
from cloudpriv.retention.tables import OPEN, Purge
from cloudpriv.rights import letters
from cloudpriv.rights.post import Post
from cloudpriv.rights.tables import RecipientNotice

log = structlog.get_logger(__name__)

KINDS: Final = ("rectification", "erasure", "restriction")
MAIL: Final = "recipient_"  # and the kind: how the mails are called
FAREWELL: Final = "closing_ended"  # the last mail to an account's owners
ANSWERS: Final = (letters.COMPLETED, letters.REFUSED)  # which its erasure waits for too
WAIT: Final = timedelta(days=3)  # at most, from a notice to the erasure of what its mail is written from
AT_ONCE: Final = 500
WAITING: Final = ("pending", "by_staff")


def notify(tx: Tx, account_id: UUID, kind: str, categories: Collection[str], *, person_id: UUID | None = None,
           request_id: UUID | None = None) -> list[UUID]:  # fmt: skip
    """Have every recipient told that was ever given any of the `categories`; the ids of the notices.

    Of a person also those who were given data of the whole account. An erasure is told once, and so is what one request
    brought about. The account exists; whoever erases locks it before.
    """
    known = _told_before(tx, account_id, kind, person_id, request_id)
    concerned = {
        disclosure: sorted(both)
        for disclosure in _disclosures(tx, account_id, person_id)
        if disclosure.disclosure_id not in known and (both := set(disclosure.categories) & set(categories))
    }
    if not concerned:  # and so no key is needed
        return []
    account = accounts.find_account(tx, account_id)
    same = {"request_id": request_id, "concerns": person_id, "kind": kind, "created_at": tx.now}
    rows = [{**same, **_notice(account, each), "categories": both} for each, both in concerned.items()]
    tx.session.execute(insert(RecipientNotice), rows)
    for row in rows:
        events.record(tx, "recipient.notify", account_id=account_id, subject_id=row["notice_id"])
        if row["status"] == "pending":
            outbox.queue_mail(tx, f"{MAIL}{kind}", account_id, None, row["notice_id"])
    return [row["notice_id"] for row in rows]


def before_erasure(tx: Tx, account_id: UUID) -> bool:
    """Whether the erasure of an account may begin, as far as recipients and people have been told; tells the former if not.

    For `rights.farewell`, under the account's lock. One query for an account whose data nobody was given.
    """
    if not _has_anybody_to_tell(tx, account_id):
        return True
    conclude(tx, account_id=account_id)
    disclosed = _disclosures(tx, account_id, None)
    try:
        notify(tx, account_id, "erasure", {category for row in disclosed for category in row.categories})
    except KeyFault:  # nobody can read any more who they are; what is unreadable is erased all the same
        _leave_untold(tx, account_id, [row.disclosure_id for row in disclosed])
        return True
    since = tx.now - WAIT
    waiting = RecipientNotice.account_id == account_id, RecipientNotice.status.in_(WAITING)
    open_notice = exists().where(*waiting, RecipientNotice.created_at > since)
    if tx.session.scalar(select(or_(open_notice, _farewell_queued(account_id, since)))):
        return False
    untold = tx.session.scalars(select(RecipientNotice.notice_id).where(*waiting)).all()
    _leave_untold(tx, account_id, untold)
    return True


def conclude(tx: Tx, *, account_id: UUID | None = None, limit: int = AT_ONCE) -> int:
    """Enter for up to `limit` notices, of an account or of all, how their mails ended; how many that were.

    One whose mail was not taken, or was and came back, is left to staff.
    """
    same = and_(Mail.account_id == RecipientNotice.account_id, Mail.subject_id == RecipientNotice.notice_id)
    query = select(RecipientNotice, Mail.status, Mail.sent_at).outerjoin(Mail, same)
    ended = and_(RecipientNotice.status == "pending", Mail.status.is_distinct_from("queued"))
    by_mail = and_(RecipientNotice.status == "told", RecipientNotice.told_at == Mail.sent_at)  # and not by staff
    query = query.where(or_(ended, and_(by_mail, Mail.status == "failed")))
    if account_id is not None:
        query = query.where(RecipientNotice.account_id == account_id)
    query = query.order_by(RecipientNotice.created_at).limit(limit).with_for_update(of=RecipientNotice, skip_locked=True)
    found = tx.session.execute(query).all()
    for notice, status, sent_at in found:
        notice.status, notice.told_at = ("told", sent_at) if status == "sent" else ("by_staff", None)
        action = "recipient.told" if status == "sent" else "recipient.left_to_staff"
        events.record(tx, action, account_id=notice.account_id, subject_id=notice.notice_id)
    tx.session.flush()
    return len(found)


def list_for_staff(tx: Tx, *, after: UUID | None = None, limit: int) -> list[RecipientNotice]:
    """Notices that staff has to tell, of all accounts that the actor sees, oldest first, and one more than `limit`.

    Those shown are audited. Whom to tell stands in their disclosures (`disclosures.read_disclosure`).
    """
    query = select(RecipientNotice).join(Account, Account.account_id == RecipientNotice.account_id)
    query = query.where(RecipientNotice.status == "by_staff", Account.status != "purging")
    if tx.actor.service is not None:
        query = query.where(Account.service == tx.actor.service)
    if after is not None:
        query = query.where(RecipientNotice.notice_id > after)
    found = list(tx.session.scalars(query.order_by(RecipientNotice.notice_id).limit(limit + 1)))
    for notice in found[:limit]:
        events.record(tx, "recipient.read", account_id=notice.account_id, subject_id=notice.notice_id)
    return found


def list_notices(tx: Tx, account_id: UUID, *, after: UUID | None = None, limit: int) -> list[RecipientNotice]:
    """Notices of an account, oldest first, and one more than `limit` if there is one; audited. Raises NotFoundError."""
    accounts.find_account(tx, account_id)
    query = select(RecipientNotice).where(RecipientNotice.account_id == account_id)
    if after is not None:
        query = query.where(RecipientNotice.notice_id > after)
    events.record(tx, "recipient.list", account_id=account_id)
    return list(tx.session.scalars(query.order_by(RecipientNotice.notice_id).limit(limit + 1)))


def settle(tx: Tx, account_id: UUID, notice_id: UUID, *, possible: bool) -> RecipientNotice:
    """Enter that staff told a recipient, or that it is impossible or disproportionate to (Article 19); audited.

    Raises NotFoundError, ConflictError for a notice that is not left to staff.
    """
    accounts.find_account(tx, account_id, lock=True)
    notice = tx.session.get(RecipientNotice, (account_id, notice_id), with_for_update=True)
    if notice is None:
        raise NotFoundError
    if notice.status != "by_staff":
        raise ConflictError(f"This notice is not left to staff: it is {notice.status}.")
    notice.status, notice.told_at = ("told", tx.now) if possible else ("impossible", None)
    action = "recipient.told" if possible else "recipient.not_told"
    events.record(tx, action, account_id=account_id, subject_id=notice_id)
    return notice


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `delivery.deliver`."""

    def write(tx: Tx, mail: Mail) -> Letter:
        return _written(tx, post.policy, mail)

    return {f"{MAIL}{kind}": write for kind in KINDS}


def _leave_untold(tx: Tx, account_id: UUID, subjects: Sequence[UUID]) -> None:
    """Notices and disclosures go with the account: what nobody was told of stays in the trail."""
    for subject_id in subjects:
        events.record(tx, "recipient.not_told", account_id=account_id, subject_id=subject_id)
    if subjects:
        log.error("recipients_not_told", account=str(account_id), number=len(subjects))


def _disclosures(tx: Tx, account_id: UUID, person_id: UUID | None) -> Sequence[Disclosure]:
    query = select(Disclosure).where(Disclosure.account_id == account_id)
    if person_id is not None:
        query = query.where(or_(Disclosure.scope == "account", Disclosure.person_id == person_id))
    return tx.session.scalars(query.order_by(Disclosure.disclosure_id)).all()


def _told_before(tx: Tx, account_id: UUID, kind: str, person_id: UUID | None, request_id: UUID | None) -> set[UUID]:
    """The disclosures of which the same was told before."""
    if kind != "erasure" and request_id is None:
        return set()
    same = RecipientNotice.concerns.is_not_distinct_from(person_id)
    query = select(RecipientNotice.disclosure_id).where(RecipientNotice.account_id == account_id, same)
    query = query.where(RecipientNotice.kind == kind)
    return set(tx.session.scalars(query if kind == "erasure" else query.where(RecipientNotice.request_id == request_id)))


def _notice(account: OpenedAccount, disclosure: Disclosure) -> dict[str, Any]:
    address = _details(account, disclosure)["email"]
    return {
        "account_id": disclosure.account_id,
        "notice_id": new_id(),
        "disclosure_id": disclosure.disclosure_id,
        "status": "pending" if _can_be_mailed(address) else "by_staff",
    }


def _details(account: OpenedAccount, disclosure: Disclosure) -> dict[str, Any]:
    return account.key.open(disclosure.disclosure_id, DISCLOSURE, disclosure.details)


def _can_be_mailed(address: str | None) -> bool:
    try:
        check_address(address or "")
    except ValueError:
        return False
    return True


def _has_anybody_to_tell(tx: Tx, account_id: UUID) -> bool:
    given = exists().where(Disclosure.account_id == account_id)
    return bool(tx.session.scalar(select(or_(given, _farewell_queued(account_id, tx.now - WAIT)))))


def _farewell_queued(account_id: UUID, since: Any) -> Any:
    """A mail that no other follows: to owners, to an address only it has, or an answer since the erasure was planned.

    By two hosts' clocks, so since a moment before: an answer that nobody waits for is lost with its address.
    """
    planned = select(Purge.planned_at).where(Purge.account_id == account_id, Purge.status.in_(OPEN)).scalar_subquery()
    answered = and_(Mail.kind.in_(ANSWERS), Mail.created_at >= planned - APART)
    last = or_(Mail.kind == FAREWELL, answered, Mail.addressee.is_not(None))
    return exists().where(Mail.account_id == account_id, last, Mail.status == "queued", Mail.created_at > since)


def _written(tx: Tx, policy: Policy, mail: Mail) -> Letter:
    """The letter to a recipient. Raises DroppedError when the account is gone, or somebody else has told it."""
    if mail.account_id is None or mail.subject_id is None:
        raise DroppedError("nobody")
    try:
        account = accounts.find_account(tx, mail.account_id)
    except NotFoundError:
        raise DroppedError("nobody") from None
    notice = tx.session.get(RecipientNotice, (mail.account_id, mail.subject_id))
    if notice is None or notice.status != "pending":
        raise DroppedError("told_before")
    disclosure = tx.session.get_one(Disclosure, (notice.account_id, notice.disclosure_id))
    details = _details(account, disclosure)
    return Letter(details["email"], None, _values(policy, account, notice, disclosure, details))


def _values(policy: Policy, account: OpenedAccount, notice: RecipientNotice, disclosure: Disclosure,
            details: Mapping[str, Any]) -> Mapping[str, mail_templates.Value]:  # fmt: skip
    controller = policy.controller_of(account.row.service)
    return {
        "service": SERVICE_NAMES[account.row.service],
        "disclosed_on": disclosure.disclosed_at.date(),
        "reference": details["reference"] or "-",
        "disclosure": str(disclosure.disclosure_id),
        "account_id": str(notice.account_id),
        "person_id": str(notice.concerns or "-"),
        "categories": ", ".join(notice.categories),
        "controller": controller.name,
        "address": ", ".join(controller.address),
        "country": mail_templates.country_name(controller.country),
    }
