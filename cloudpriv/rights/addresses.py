"""Mails to addresses that change or go: to the former one and to the new one, and the last one to an erased person.

A former address is nobody's any more once the change has committed, and still has to be told: whoever takes a sign-in over
changes it first. So it goes along with the mail, sealed, and is erased when that mail has ended (`outbox.queue_mail_to`).
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from cloudpriv import mail_templates
from cloudpriv.controller import delivery, outbox
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import Values, Writer
from cloudpriv.controller.outbox import Addressee, Mail
from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.rights.letters import WORDS, told_of
from cloudpriv.rights.post import Post

FORMER: Final = "address_former"
REGISTERED: Final = "address_registered"
ERASED: Final = "person_erased"
HELD: Final = "person_held"  # the same mail, where a legal hold keeps something
OUTCOMES: Final = {ERASED: "erased", HELD: "erased_but_held"}


def tell_change(
    tx: Tx, account: OpenedAccount, person_id: UUID, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Have both addresses told where a change of a person's identity changed the address; nothing to do otherwise."""
    if before["email"] == after["email"]:
        return
    if before["email"]:
        outbox.queue_mail_to(tx, FORMER, account, Addressee(before["email"], before["locale"]))
    if after["email"]:  # about itself, so that none counts as sent before
        outbox.queue_mail(tx, REGISTERED, account.row.account_id, person_id, new_id())


def tell_erased(tx: Tx, account: OpenedAccount, identity: Mapping[str, Any], request_id: UUID, *, held: bool) -> None:
    """Have a person told that they are erased, as they asked; called before their row goes."""
    if identity["email"]:
        addressee = Addressee(identity["email"], identity["locale"])
        outbox.queue_mail_to(tx, HELD if held else ERASED, account, addressee, request_id)


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `delivery.deliver`."""

    def signed(_: Tx, account: OpenedAccount, __: Mail) -> Values:
        return _signed(post, account)

    def erased(_: Tx, account: OpenedAccount, mail: Mail) -> Values:
        return {
            "number": str(mail.subject_id),
            "outcome": mail_templates.phrases(WORDS, "outcomes")[OUTCOMES[mail.kind]],
            **told_of(post.policy.supervisory_authority),
            **_signed(post, account),
        }

    return {
        FORMER: delivery.to_addressee(signed),
        REGISTERED: delivery.to_person(signed),
        ERASED: delivery.to_addressee(erased),
        HELD: delivery.to_addressee(erased),
    }


def _signed(post: Post, account: OpenedAccount) -> Values:
    controller = post.policy.controller_of(account.row.service)
    return {
        "controller": controller.name,
        "address": ", ".join(controller.address),
        "country": mail_templates.country_name(controller.country),
    }
