"""Mails about consents: links to confirm what was asked for, and a receipt of what was given."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Final
from uuid import UUID

from cloudpriv import mail_templates
from cloudpriv.controller import accounts, delivery, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import DroppedError, Letter, Values, Writer
from cloudpriv.controller.holder_tables import ConsentRecord
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.db import Tx
from cloudpriv.platform.keys import DataKey
from cloudpriv.rights.consents import history
from cloudpriv.rights.consents import links as consent_links
from cloudpriv.rights.consents.history import LASTS
from cloudpriv.rights.consents.records import PURPOSES, Purpose, State, texts
from cloudpriv.rights.post import Post

CONFIRM: Final = "consent_confirm"
WITHDRAW: Final = "consent_withdraw"
RECEIPT: Final = "consent_receipt"
ONE_CLICK: Final = "List-Unsubscribe=One-Click"


def writers(post: Post) -> Mapping[str, Writer]:
    """How mails about consents are written, for `delivery.deliver`."""

    def asked_for(state: State) -> Writer:
        return delivery.to_person(lambda tx, account, mail: _to_confirm(tx, post, account, _event(tx, mail, state)))

    def receipt(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
        return _receipt(post, account, _event(tx, mail, "given"))

    return {
        CONFIRM: asked_for("requested"),
        WITHDRAW: asked_for("withdrawal_requested"),
        RECEIPT: _unsubscribable(post, delivery.to_person(receipt)),
    }


def unsubscribe_headers(url: str, key: DataKey, person_id: UUID, purpose: Purpose) -> dict[str, str]:
    """The headers of a mail that rests on this consent (RFC 2369, RFC 8058). `url` is the portal's public base URL.

    Providers offer one click by HTTPS alone, so without it there is only the address of the page. The mail's DKIM signature
    has to cover both.
    """
    listed = {"List-Unsubscribe": f"<{consent_links.unsubscription(url, key, person_id, purpose)}>"}
    return listed | ({"List-Unsubscribe-Post": ONE_CLICK} if url.startswith("https://") else {})


def purpose_of(row: ConsentRecord) -> Purpose:
    """The purpose of an event."""
    return next(each for each in PURPOSES if each == row.purpose)


def _event(tx: Tx, mail: Mail, state: State) -> ConsentRecord:
    """What the mail is about, if the history still stands there. Raises DroppedError."""
    row = None if mail.account_id is None else tx.session.get(ConsentRecord, (mail.account_id, mail.subject_id))
    if row is None:
        raise DroppedError("nothing")
    rows = history.rows_of(tx, row.account_id, row.person_id, row.purpose)
    if rows[-1].consent_id != row.consent_id or row.state != state or history.is_stale(row, tx.now):
        raise DroppedError("not_open")
    return row


def _to_confirm(tx: Tx, post: Post, account: OpenedAccount, row: ConsentRecord) -> Values:
    told, ends = texts(row.purpose), (row.at + LASTS).astimezone(UTC)
    address = people.address_of(account.key, people.find_person(tx, row.account_id, row.person_id))
    return {
        "purpose": told["title"],
        "question": told["question"],
        "link": consent_links.confirmation(post.url, account.key, row.consent_id, address),
        "day": ends.date(),
        "time": f"{ends:%H:%M} UTC",
    }


def _receipt(post: Post, account: OpenedAccount, row: ConsentRecord) -> Values:
    told, controller = texts(row.purpose), post.policy.controller_of(account.row.service)
    return {
        "purpose": told["title"],
        "question": told["question"],
        "given_on": row.at.date(),
        "link": consent_links.unsubscription(post.url, account.key, row.person_id, purpose_of(row)),
        "portal": post.portal,
        "notice": f"{post.portal}notice",
        "controller": controller.name,
        "address": ", ".join(controller.address),
        "country": mail_templates.country_name(controller.country),
    }


def _unsubscribable(post: Post, writer: Writer) -> Writer:
    """The letters of a writer with the headers that let their reader go by one click."""

    def write(tx: Tx, mail: Mail) -> Letter:
        letter, row = writer(tx, mail), _event(tx, mail, "given")
        key = accounts.find_account(tx, row.account_id).key
        return replace(letter, headers=unsubscribe_headers(post.url, key, row.person_id, purpose_of(row)))

    return write
