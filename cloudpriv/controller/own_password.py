"""A person's own password, which the person sets: also where nothing else may be changed.

An account that is restricted or about to be closed is used by nobody, but its people have to get in to use their rights.
"""

from typing import Final, Literal
from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people, sessions
from cloudpriv.controller.tables import PASSWORD, Credential
from cloudpriv.platform.db import Tx
from cloudpriv.platform.text import normalised

Weakness = Literal["too_short", "too_long", "has_name"]
SHORTEST: Final = 8
LONGEST: Final = 1024
TELLING: Final = 4  # characters from which a name in a password says something


def weakness(password: str, *names: str) -> Weakness | None:
    """Why a password is not to be taken: it is too short or too long, or has one of these names in it."""
    if len(password) < SHORTEST:
        return "too_short"
    if len(password) > LONGEST:
        return "too_long"
    told = normalised(password)
    return "has_name" if any(len(name) >= TELLING and normalised(name) in told for name in names) else None


def set_own_password(tx: Tx, account_id: UUID, person_id: UUID, password_hash: str) -> None:
    """Replace a person's password, drop the hint to the old one and end all their sessions, audited.

    The caller knows that it is this person who asks. Raises NotFoundError when account or person are gone.
    """
    account = accounts.find_account(tx, account_id, lock=True)
    people.find_person(tx, account_id, person_id)
    row = tx.session.get(Credential, (account_id, person_id)) or Credential(account_id=account_id, person_id=person_id)
    row.password_hash = account.key.seal(person_id, PASSWORD, {"phc": password_hash})
    row.hint = None
    row.changed_at = tx.now
    tx.session.add(row)
    sessions.end_all(tx, account_id, person_id)
    events.record(tx, "credentials.change", account_id=account_id, subject_id=person_id)
