"""What a new password may be: long enough, not easily guessed, and not among those that became public.

Whoever submits it: the person, or a backend for the person, since a password that is already stored can only be compared.
What is stored stays good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from cloudpriv.controller import accounts, people
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.platform.passwords import Passwords
from cloudpriv.platform.text import normalised

Weakness = Literal["too_short", "too_long", "has_name", "guessable", "breached"]
SHORTEST: Final = 8
LONGEST: Final = 1024
TELLING: Final = 4  # characters from which a name in a password says something
# What everybody thinks of here: the services, their makers and their products (ASVS 6.1.2; docs/security.md).
PRODUCT: Final = (
    "talk2m",
    "intesis",
    "hms",
    "networks",
    "ewon",
    "cosy",
    "flexy",
    "netbiter",
    "anybus",
    "ecatcher",
    "cloudpriv",
)
TOLD: Final[Mapping[Weakness, str]] = {
    "too_short": "has fewer than 8 characters",
    "too_long": "has more than 1024 characters",
    "has_name": "contains the name of the service or of the account, or the username",
    "guessable": "is easily guessed: it is in common use, a row of keys or digits, or made of names that others know",
    "breached": "became public in a breach of some service, so that others try it",
}


@dataclass(frozen=True)
class About:
    """What others know of a person: `names` that may not be in the password, and `words` that count for nothing in it."""

    names: tuple[str, ...]
    words: tuple[str, ...] = ()


def about(account: accounts.OpenedAccount, identity: Mapping[str, Any]) -> About:
    """What others know of a person with this identity document."""
    mailbox = (identity["email"] or "").partition("@")[0]
    words = (identity["name"], mailbox, identity["company_name"], account.profile.get("company_name"))
    names = (account.row.service, account.profile["account_name"], identity["username"])
    return About(names, tuple(word for word in words if word))


def read_about(tx: Tx, account_id: UUID, person_id: UUID) -> About:
    """The same of a person in the database. Raises NotFoundError."""
    account = accounts.find_account(tx, account_id)
    return about(account, people.open_identity(account.key, people.find_person(tx, account_id, person_id)))


def weakness(passwords: Passwords, password: str, known: About) -> Weakness | None:
    """Why a password is not to be taken, if it is not; raises BusyError when that cannot be told right now."""
    if len(password) < SHORTEST:
        return "too_short"
    if len(password) > LONGEST:
        return "too_long"
    shown = normalised(password)
    if any(len(name) >= TELLING and normalised(name) in shown for name in known.names):
        return "has_name"
    return passwords.fault(password, (*known.names, *known.words, *PRODUCT))


def check(passwords: Passwords, password: str, known: About) -> None:
    """Raises InvalidError for a password that is not to be taken, BusyError as above."""
    fault = weakness(passwords, password, known)
    if fault is not None:
        raise InvalidError(errors=(FieldError("/password", TOLD[fault]),))
