"""The erasure of one person (GDPR Article 17), in the account's own rows and in copies made for its requests."""

from uuid import UUID

from sqlalchemy import update

from cloudpriv.controller import people
from cloudpriv.platform.db import Tx
from cloudpriv.rights.tables import Export


def erase_person(tx: Tx, account_id: UUID, person_id: UUID, version: int) -> None:
    """Erase a person, and with them every archive of the account: one that is ready is gone, one in the making begins anew.

    Raises as `people.remove_person` does. The account stays locked, as whoever makes an archive has to lock it, too.
    """
    people.remove_person(tx, account_id, person_id, version)
    of_account = update(Export).where(Export.account_id == account_id)
    tx.session.execute(of_account.where(Export.status == "ready", Export.expires_at > tx.now).values(expires_at=tx.now))
    anew = {"status": "pending", "attempts": 0, "lease_owner": None, "lease_until": None}
    tx.session.execute(of_account.where(Export.status == "running").values(anew))
