"""What pages need to ask for something on behalf of who is signed in, and has given the password within five minutes."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from cloudpriv.api.runtime import runtime
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError
from cloudpriv.portal import guard, i18n
from cloudpriv.rights import handling
from cloudpriv.rights.requests import Identity, KnownRequest

About = Literal["account", "person"]
ACCOUNT: Final = "account"


def about(given: str | None) -> About:
    """Whose data a form names: the account's for owners, unless they say otherwise; a member's own.

    Raises ForbiddenError for a member who names the account.
    """
    session, _account, _person = guard.signed_in()
    if session.role != "owner" and given == ACCOUNT:
        raise ForbiddenError
    return "account" if session.role == "owner" and given != "person" else "person"


def ask(tx: Tx, type_: str, whose: About, *, details: Mapping[str, Any] | None = None,
        language: str | None = None) -> KnownRequest:  # fmt: skip
    """Make a request, which is carried out at once unless staff has to decide. For pages that demand a fresh password.

    Raises as `handling.receive` does.
    """
    session, _account, _person = guard.signed_in()
    chosen = language if language in i18n.LANGUAGES else i18n.language()
    return handling.receive(
        tx,
        runtime().services.policy,
        session.account_id,
        type_,
        person_id=None if whose == ACCOUNT else session.person_id,
        channel="portal",
        details=details,
        identity=Identity("password", tx.actor.name),
        language=chosen or "en",
    )
