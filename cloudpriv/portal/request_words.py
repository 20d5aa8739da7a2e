"""What requests are called on pages, in plain words, and what follows of each."""

from collections.abc import Mapping
from datetime import date
from typing import Final, NamedTuple, cast

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from cloudpriv import mail_templates
from cloudpriv.portal import i18n
from cloudpriv.rights.cases.exports import EXPORTED
from cloudpriv.rights.letters import WORDS
from cloudpriv.rights.requests import KnownRequest, RequestType
from cloudpriv.rights.tables import SubjectRequest


class Kind(NamedTuple):
    """A type of request: its name, and what it means for whoever makes one."""

    name: LazyString
    meaning: LazyString


KINDS: Final[Mapping[RequestType, Kind]] = {
    "access": Kind(
        _l("A copy of the data"),
        _l("You get everything that is held, and read what it is used for, who received it and how long it is kept."),
    ),
    "portability": Kind(
        _l("Data to move elsewhere"),
        _l("You get the data in files that other systems read, so that you can take it to another provider."),
    ),
    "rectification": Kind(
        _l("Correction"),
        _l("What is wrong is put right, and what is missing is added. Whoever was given the data is told."),
    ),
    "erasure": Kind(
        _l("Erasure of my data"),
        _l("What identifies you is erased, with your sign-in. The account goes on without you."),
    ),
    "restriction": Kind(
        _l("Restriction"),
        _l("The data is stored and you can take it along, but it is used for nothing else until you lift the restriction."),
    ),
    "objection": Kind(
        _l("Objection"),
        _l("You tell us why your situation speaks against what we do with the data. Our staff looks into it and decides."),
    ),
    "consent_withdrawal": Kind(
        _l("Withdrawal of all consents"),
        _l("Everything that you agreed to by consent stops at once. A single consent is withdrawn on the page of consents."),
    ),
}
CLOSING: Final = _l("Closing of the account")
CHANNELS: Final[Mapping[str, LazyString]] = {
    "portal": _l("on these pages"),
    "backend": _l("through the service"),
    "letter": _l("by letter, entered by our staff"),
    "mail": _l("by mail, entered by our staff"),
}
METHODS: Final[Mapping[str, LazyString]] = {
    "password": _l("by your password"),
    "code": _l("by a code to the registered address"),
    "backend": _l("by the service"),
    "documents": _l("by documents that our staff checked"),
}
# Why processing is restricted (GDPR Article 18(1)), by what a form sends.
RESTRICTION_GROUNDS: Final[Mapping[str, LazyString]] = {
    "accuracy": _l("The data is wrong, and you are checking it (Article 18(1)(a))"),
    "unlawful": _l("The processing is unlawful, but I do not want the data erased (Article 18(1)(b))"),
    "claims": _l("You need the data no longer, but I do, for legal claims (Article 18(1)(c))"),
    "objection": _l("I have objected, and you are looking into it (Article 18(1)(d))"),
}
WAITS_FOR_IDENTITY: Final = _l(
    "Our staff has to know who asks before anything is done. We have written to the registered address."
)
TIED: Final = _l("Another request asks for the same and is worked on. Both are answered together.")
ARCHIVE: Final = _l("The archive is being made. A mail tells you when it is ready to be fetched here.")
NO_ARCHIVE: Final = _l(
    "The archive could not be made. The fault is on our side and has been noted; your request is still open. You may start "
    "it again now."
)
COOLING_OFF: Final = _l("The account is erased when the time to change your mind is over.")
DECISION: Final = _l("Our staff looks into it and answers by the day on which the answer is due.")
LATE: Final = _l("Our staff looks into it. The answer is late: the day on which it was due is over.")


def named(row: SubjectRequest) -> LazyString:
    """What a request is called: the erasure of an account is its closing."""
    return CLOSING if row.type == "erasure" and row.scope == "account" else KINDS[cast(RequestType, row.type)].name


def following(known: KnownRequest, today: date) -> LazyString | None:
    """What happens next; None when it has ended, or a banner says it. Nothing is promised for a day that is over."""
    row = known.row
    if row.completed_at is not None:
        return None
    if row.status == "received":
        return WAITS_FOR_IDENTITY
    if row.duplicate_of is not None:
        return TIED
    if row.type in EXPORTED:
        return NO_ARCHIVE if known.export is not None and known.export.status == "failed" else ARCHIVE
    if row.effective_at is not None:
        return COOLING_OFF if row.effective_at.date() >= today else None
    return LATE if row.due_on < today else DECISION


def phrase(group: str, key: str) -> str:
    """What mails say of a ground or an outcome, in the reader's language; what is no key was written by staff."""
    found = mail_templates.phrases(WORDS, group).get(key)
    return key if found is None else found[i18n.language()]
