"""The erasure of one person (GDPR Article 17), in the account's own rows and in copies made for its requests."""

from uuid import UUID

from sqlalchemy import update

from cloudpriv.controller import accounts, people
from cloudpriv.platform.db import Tx
from cloudpriv.retention import holds
from cloudpriv.retention.around import Around
from cloudpriv.retention.scope import scope_of
from cloudpriv.rights.tables import Export


def erase_person(tx: Tx, account_id: UUID, person_id: UUID, version: int) -> bool:
    """Erase a person, and with them every archive of the account: one that is ready is gone, one in the making begins anew.

    False when legal holds keep something of the person: the rest is erased, nobody finds the person any more, and what is
    held goes when the holds end. Raises as `people.remove_person` does. The account stays locked, as whoever makes an
    archive or places a hold has to lock it, too.
    """
    accounts.lock_account(tx, account_id)
    held = holds.on_person(tx, account_id, person_id)
    if held:
        people.defer_erasure(tx, account_id, person_id, version)
        Around(tx, account_id, scope_of(held)).empty_person(person_id)
    else:
        people.remove_person(tx, account_id, person_id, version)
    of_account = update(Export).where(Export.account_id == account_id)
    tx.session.execute(of_account.where(Export.status == "ready", Export.expires_at > tx.now).values(expires_at=tx.now))
    anew = {"status": "pending", "attempts": 0, "lease_owner": None, "lease_until": None}
    tx.session.execute(of_account.where(Export.status == "running").values(anew))
    return not held
