"""The words of the trail: who acted and what was done, for every action that the controller plane records."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from cloudpriv.controller.delivery import SERVICE_NAMES

# What was done, by the action of its event; it is told after who did it and when.
DEEDS: Final[Mapping[str, LazyString]] = {
    "account.change": _l("Changed the account"),
    "account.close": _l("Asked for the account to be erased"),
    "account.create": _l("Opened the account"),
    "account.erased": _l("Told that the account is erased"),
    "account.lift": _l("Lifted the restriction of the account"),
    "account.lift_announce": _l("Announced that the restriction of the account ends"),
    "account.lift_cause": _l("Ended one of several reasons for the restriction of the account"),
    "account.read": _l("Looked at the account"),
    "account.read_restriction": _l("Looked at the restriction of the account"),
    "account.reopen": _l("Undid the closing of the account"),
    "account.restrict": _l("Restricted the processing of the account"),
    "account.returned": _l("Found the erased account in a restored backup"),
    "answer.repeat": _l("Was given the same answer again"),
    "audit.read": _l("Looked at this list"),
    "code.reject": _l("Typed a wrong one-time code"),
    "code.send": _l("Had a one-time code sent"),
    "code.use": _l("Typed the right one-time code"),
    "consent.ask": _l("Asked to give a consent"),
    "consent.ask_withdrawal": _l("Asked to withdraw a consent"),
    "consent.expire": _l("Let an unconfirmed consent lapse"),
    "consent.give": _l("Gave a consent"),
    "consent.read": _l("Looked at consents"),
    "consent.withdraw": _l("Withdrew a consent"),
    "credentials.change": _l("Set a password"),
    "credentials.hint": _l("Had the password hint sent"),
    "credentials.reject": _l("Gave a wrong password"),
    "credentials.verify": _l("Gave the right password"),
    "device.change": _l("Changed a device"),
    "device.create": _l("Registered a device"),
    "device.list": _l("Looked at the list of devices"),
    "device.read": _l("Looked at a device"),
    "device.remove": _l("Removed a device"),
    "disclosure.create": _l("Recorded that data was given to a recipient"),
    "disclosure.list": _l("Looked at the list of recipients"),
    "disclosure.read": _l("Looked at what a recipient was given"),
    "export.complete": _l("Finished an export"),
    "export.create": _l("Started an export"),
    "export.download": _l("Downloaded an export"),
    "export.expire": _l("Erased the archive of an export whose time was over"),
    "export.fail": _l("Could not finish an export"),
    "export.read": _l("Looked at an export"),
    "hold.place": _l("Placed a legal hold"),
    "hold.read": _l("Looked at a legal hold"),
    "hold.release": _l("Released a legal hold"),
    "logdata.traffic": _l("Told that log data came in"),
    "mail.bounce": _l("Told that a mail came back"),
    "mail.drop": _l("Left out a mail that was not needed"),
    "mail.fail": _l("Could not send a mail"),
    "mail.no_address": _l("Knew no address to send a mail to"),
    "mail.send": _l("Sent a mail"),
    "notice.give": _l("Announced that the account will be erased"),
    "owner.announce": _l("Announced a new owner of the account"),
    "owner.read": _l("Looked at the change of owner"),
    "owner.replace": _l("Made a person owner of the account"),
    "owner.stop": _l("Stopped the change of owner"),
    "person.change": _l("Changed a person's data"),
    "person.create": _l("Added a person"),
    "person.erase": _l("Erased a person"),
    "person.erasure_held": _l("Put off the erasure of a person: a legal hold is in force"),
    "person.lift": _l("Lifted the restriction of a person's data"),
    "person.lift_announce": _l("Announced that the restriction of a person's data ends"),
    "person.lift_cause": _l("Ended one of several reasons for the restriction of a person's data"),
    "person.read": _l("Looked at a person's data"),
    "person.read_restriction": _l("Looked at the restriction of a person's data"),
    "person.restrict": _l("Restricted the processing of a person's data"),
    "policy.acknowledge": _l("Saw the change of the privacy policy"),
    "policy.announce": _l("Announced a change of the privacy policy"),
    "purge.approve": _l("Approved the erasure of the account"),
    "purge.cancel": _l("Cancelled the erasure of the account"),
    "purge.plan": _l("Planned the erasure of the account"),
    "purge.read": _l("Looked at the erasure of the account"),
    "recipient.left_to_staff": _l("Left it to staff to tell a recipient"),
    "recipient.list": _l("Looked at what recipients were told"),
    "recipient.not_told": _l("Noted that a recipient could not be told"),
    "recipient.notify": _l("Began to tell a recipient"),
    "recipient.read": _l("Looked at what a recipient was told"),
    "recipient.told": _l("Told a recipient"),
    "request.begin": _l("Began the work on a request"),
    "request.complete": _l("Carried out a request"),
    "request.create": _l("Took a request about personal data"),
    "request.erase": _l("Erased a request whose time was over"),
    "request.extend": _l("Put off the answer to a request"),
    "request.list": _l("Looked at the list of requests"),
    "request.read": _l("Looked at a request"),
    "request.refuse": _l("Refused a request"),
    "request.verify": _l("Noted who made a request"),
    "request.withdraw": _l("Withdrew a request"),
    "retention.read": _l("Looked at when the account will be erased"),
    "session.confirm": _l("Gave the password again"),
    "session.create": _l("Signed in"),
    "session.end": _l("Signed out or was signed out"),
    "session.read": _l("Looked at sign-ins"),
    "traffic.read": _l("Looked at traffic"),
    "traffic.write": _l("Stored traffic of devices"),
}
# Actions about no account: no account's trail has them.
OF_NO_ACCOUNT: Final = frozenset({
    "client.create", "client.revoke", "client.token", "log.begin", "purge_run.approve", "purge_run.execute",
    "purge_run.plan", "purge_run.read", "purge_run.stop",
})  # fmt: skip
FIELDS: Final[Mapping[str, LazyString]] = {
    "account_name": _l("account name"),
    "address": _l("postal address"),
    "common_name": _l("common name"),
    "company_id": _l("company number"),
    "company_name": _l("company"),
    "customer": _l("customer"),
    "email": _l("e-mail address"),
    "kind": _l("kind"),
    "locale": _l("language"),
    "model": _l("model"),
    "name": _l("name"),
    "phones": _l("phone numbers"),
    "product_news": _l("product news"),
    "role": _l("role"),
    "serial": _l("serial number"),
    "surveys": _l("surveys"),
    "username": _l("username"),
}
OTHER: Final = _l("Did something that has no name here")
YOU: Final = _l("You")
ANOTHER: Final = _l("Another person of the account")
STRANGER: Final = _l("Somebody who was not signed in")
SIGNING_IN: Final = _l("Somebody who was signing in")
STAFF: Final = _l("Staff")
ITSELF: Final = _l("The service, by itself")
UNKNOWN: Final = "unauthenticated"  # the id of a caller who showed no access token and no session


def told(action: str) -> LazyString:
    """What was done, in words."""
    return DEEDS.get(action, OTHER)


def field(name: str) -> LazyString | str:
    """What a field is called."""
    return FIELDS.get(name, name)


def is_right_password(action: str, actor_id: str) -> bool:
    """Whether it is the first half of a sign-in: the password fits, and who gave it is not signed in yet."""
    return action == "credentials.verify" and actor_id == UNKNOWN


def actor(kind: str, actor_id: str, own: UUID, service: str, action: str = "") -> LazyString:
    """Who acted, as the person `own` of an account of a service is told: never by an id."""
    if actor_id == str(own):
        return YOU
    if kind in ("owner", "member"):
        return ANOTHER
    if kind == "client":
        if actor_id == UNKNOWN:
            return SIGNING_IN if is_right_password(action, actor_id) else STRANGER
        return _l("%(service)s's systems", service=SERVICE_NAMES[service])
    return STAFF if kind == "operator" else ITSELF
