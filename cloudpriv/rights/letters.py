"""Mails to people about their requests: received, extended, answered; and the day's list for privacy staff.

A letter says what is so when it is sent. One about a request that has gone on meanwhile is dropped: the next one tells more.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import exists, select, text

from cloudpriv import mail_templates
from cloudpriv.controller import delivery, outbox, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import DroppedError, Letter, Values, Writer
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy
from cloudpriv.policy.schema import Authority, Text
from cloudpriv.retention.duties import DAILY
from cloudpriv.rights.articles import cited
from cloudpriv.rights.cases import deadlines
from cloudpriv.rights.cases.details import open_details
from cloudpriv.rights.cases.grounds import GROUNDS
from cloudpriv.rights.cases.states import RUNNING
from cloudpriv.rights.post import Post
from cloudpriv.rights.tables import SubjectRequest

log = structlog.get_logger(__name__)

IDENTITY: Final = "request_identity"
RECEIVED: Final = "request_received"
EXTENDED: Final = "request_extended"
COMPLETED: Final = "request_completed"
REFUSED: Final = "request_refused"
WITHDRAWN: Final = "request_withdrawn"
DIGEST: Final = "request_digest"

WORDS: Final = "request_words"
OUTCOMES: Final = mail_templates.phrases(WORDS, "outcomes")
REASONS: Final = mail_templates.phrases(WORDS, "reasons")  # of refusals that nobody decided
IN_TURN: Final = text("SELECT pg_advisory_xact_lock(7235004)")  # any number of our own
IDS_TOLD: Final = 20  # of each kind in the day's list; all of them are in the list of open requests

# What a request must be for a letter of the kind to be true.
TRUE_WHILE: Final[Mapping[str, Callable[[SubjectRequest], bool]]] = {
    IDENTITY: lambda row: row.status == "received",
    RECEIVED: lambda row: row.status in RUNNING and row.effective_at is None,  # the letter of a closing tells its day
    EXTENDED: lambda row: row.extended_at is not None and row.completed_at is None,
    COMPLETED: lambda row: row.status == "completed",
    REFUSED: lambda row: row.status == "refused",
    WITHDRAWN: lambda row: row.status == "withdrawn",
}


def tell(tx: Tx, row: SubjectRequest, kind: str) -> None:
    """Have a letter sent to whom the request is about: the person, or every owner of the account."""
    for person_id in _readers(tx, row):
        outbox.queue_mail(tx, kind, row.account_id, person_id, row.request_id)


def queue_digest(tx: Tx, privacy_address: str | None) -> bool:
    """Have the day's list mailed to the privacy address, where there is one and something to tell; whether it is.

    Once for each slot of the schedule, whoever asks again or at the same moment: the mail itself is the mark of that.
    How many restrictions go on because nobody was told of their end is logged besides.
    """
    found = deadlines.pressing(tx)
    if found.untold:
        log.error("restrictions_not_told", number=len(found.untold))
    if privacy_address is None or not found.any():
        return False
    tx.session.execute(IN_TURN)
    slot = DAILY.latest(tx.now)
    queued = Mail.kind == DIGEST, Mail.created_at >= slot, Mail.created_at < slot + DAILY.every
    if tx.session.scalar(select(exists().where(*queued))):
        return False
    outbox.queue_mail(tx, DIGEST, None, None)
    return True


def told_of(authority: Authority) -> Values:
    """The authority to complain to, as letters give it."""
    return {
        "authority": _in_every_language(authority.name),
        "authority_address": ", ".join(authority.address),
        "authority_country": _in_every_language(authority.country_name),
        "authority_website": authority.website,
    }


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `delivery.deliver`."""
    return {DIGEST: _digest(post), **{kind: delivery.to_person(_content(post, kind)) for kind in TRUE_WHILE}}


def about_request(post: Post, account: OpenedAccount, row: SubjectRequest) -> Values:
    """Which request a letter is about, when it is due, and whom to write to."""
    controller = post.policy.controller_of(account.row.service)
    return {
        "asked": _phrase("types", row.type),
        "about": _phrase("scopes", row.scope),
        "number": str(row.request_id),
        "received_on": row.received_at.date(),
        "due_on": row.due_on,
        "portal": post.portal,
        "controller": controller.name,
        "address": ", ".join(controller.address),
        "country": mail_templates.country_name(controller.country),
    }


def _answered_by(due_on: date, today: date) -> Mapping[str, str]:
    """By when a request is answered; or that the answer is late, where that day is over as the letter is written."""
    phrase = _phrase("answers", "late" if due_on < today else "due")
    return {each: text.format(day=mail_templates.written_day(due_on, each)) for each, text in phrase.items()}


def _readers(tx: Tx, row: SubjectRequest) -> list[UUID]:
    if row.scope == "person":
        return [] if row.person_id is None else [row.person_id]
    return people.owners_of(tx, row.account_id)


def _content(post: Post, kind: str) -> delivery.Content:
    def told(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
        row = tx.session.get(SubjectRequest, (account.row.account_id, mail.subject_id))
        if row is None or not TRUE_WHILE[kind](row):
            raise DroppedError("not_so_any_more")
        answer = _answered_by(row.due_on, tx.now.date())
        return {**about_request(post, account, row), "answer": answer, **_said(post.policy, account, row)}

    return told


def _said(policy: Policy, account: OpenedAccount, row: SubjectRequest) -> Values:
    """What of it only some letters say: why it takes longer, what was done, or why it was refused, and where to complain."""
    details = open_details(account.key, row)
    outcome, reason = details.get("outcome", "done"), details.get("decision", {}).get("reason", "")
    return {
        "extension": details.get("extension", {}).get("reason", ""),
        "outcome": _phrase("outcomes", outcome) if outcome in OUTCOMES else outcome,
        "ground": _phrase("grounds", row.ground) if row.ground else "",
        "article": _cited(row),
        "reason": _phrase("reasons", reason) if reason in REASONS else reason,
        **told_of(policy.supervisory_authority),
    }


def _cited(row: SubjectRequest) -> Mapping[str, str]:
    """The article of the ground as each language writes it; empty where nothing was refused."""
    if row.ground is None:
        return dict.fromkeys(mail_templates.LOCALES, "")
    return {language: cited(GROUNDS[row.ground][row.type], language) for language in mail_templates.LOCALES}


def _digest(post: Post) -> Writer:
    def write(tx: Tx, _: Mail) -> Letter:
        found = deadlines.pressing(tx)
        if post.privacy_address is None or not found.any():
            raise DroppedError("nothing_to_tell")
        values: Values = {
            "overdue": str(len(found.overdue)),
            "overdue_ids": _listed(found.overdue),
            "nearly_due": str(len(found.nearly_due)),
            "nearly_due_ids": _listed(found.nearly_due),
            "failed": str(len(found.failed)),
            "failed_ids": _listed(found.failed),
            "untold": str(len(found.untold)),
            "untold_ids": _listed([" --person ".join(map(str, filter(None, each))) for each in found.untold]),
            "day": tx.now.date(),
        }
        return Letter(post.privacy_address, None, values)

    return write


def _listed(ids: Sequence[UUID | str]) -> str:
    return ", ".join(map(str, ids[:IDS_TOLD])) + (", …" if len(ids) > IDS_TOLD else "") or "-"


def _phrase(group: str, key: str) -> Mapping[str, str]:
    return mail_templates.phrases(WORDS, group)[key]


def _in_every_language(text: Text) -> Mapping[str, str]:
    """A text of the policy, which may lack some of the mails' languages: its English one stands for those."""
    return {locale: text.get(locale, text["en"]) for locale in mail_templates.LOCALES}
