"""A person's own password, which the person sets: also where nothing else may be changed.

An account that is restricted or about to be closed is used by nobody, but its people have to get in to use their rights.
"""

from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people, sessions
from cloudpriv.controller.tables import PASSWORD, Credential
from cloudpriv.platform.db import Tx


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
