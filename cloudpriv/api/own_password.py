"""The password once more, in the body of what must not be done with a session that somebody else got hold of."""

from typing import Any, Final

from cloudpriv.api import throttle
from cloudpriv.api.body import read_json, whole_body
from cloudpriv.api.endpoint import call, transaction
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import any_text
from cloudpriv.controller import accounts, credentials, holders, people
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.errors import InvalidCredentialsError
from cloudpriv.rights.requests import Identity

PASSWORD: Final = "password"  # noqa: S105  the name of a member
LONGEST: Final = 1024


def password_field(*, required: bool = True) -> Any:
    """The member of a body that `confirm` reads."""
    return any_text("four words make one", required=required, longest=LONGEST, load_only=True)


def confirm() -> None:
    """Check the password in the body against that of the account holder who calls, audited, and waiting as in the portal.

    The session counts as a browser that the person signed in from does: strangers' attempts keep nobody from their rights.

    For `endpoint(first=…)`. A body without one is left to its schema. Raises InvalidCredentialsError, RateLimitedError,
    BusyError.
    """
    body = read_json(whole_body())
    password = body.get(PASSWORD) if isinstance(body, dict) else None
    if isinstance(password, str) and 0 < len(password) <= LONGEST:
        _check(call().actor(), password)


def identity_of(actor: Actor) -> Identity:
    """How a request says that its asker gave the password for it."""
    return Identity("password", actor.name)


def _check(actor: Actor, password: str) -> None:
    account_id, person_id = holders.own_ids(actor)
    with transaction() as tx:
        account = accounts.find_account(tx, account_id)
        person = people.open_identity(account.key, people.find_person(tx, account_id, person_id))
    names = {
        "service": account.row.service, "account_name": account.profile["account_name"], "username": person["username"],
    }  # fmt: skip
    counts = throttle.counts_of_sign_in(**names, known=str(actor.session_id))
    throttle.require(counts)
    found = credentials.verify(transaction, runtime().passwords, **names, password=password)
    if (found.account_id, found.person_id) != (account_id, person_id):
        raise InvalidCredentialsError
    throttle.forgive(counts)
