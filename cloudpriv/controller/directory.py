"""The directory: which account has which name in its service. Names are found by a keyed hash, never kept in the clear."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, any_, delete, insert, literal, select
from sqlalchemy.exc import IntegrityError

from cloudpriv.controller.tables import Account, DirectoryEntry
from cloudpriv.platform.db import Tx, violated_constraint
from cloudpriv.platform.errors import ConflictError
from cloudpriv.platform.text import normalised

NAME: Final = "account_name"


def enter(tx: Tx, account: Account, account_name: str) -> None:
    """Enter an account under its name. Raises ConflictError when the name is taken in the service."""
    entry = {"service": account.service, "name_index": _index(tx, account_name), "account_id": account.account_id}
    try:
        tx.session.execute(insert(DirectoryEntry), entry)
    except IntegrityError as fault:
        if violated_constraint(fault) != "pk_directory":
            raise
        raise ConflictError("An account of this name exists.") from None


def rename(tx: Tx, account: Account, account_name: str) -> None:
    """Enter an account under another name, in place of the one that it had. Raises ConflictError as `enter` does."""
    tx.session.execute(delete(DirectoryEntry).where(DirectoryEntry.account_id == account.account_id))
    enter(tx, account, account_name)


def find_ids(tx: Tx, service: str | None, names: Collection[str]) -> dict[str, UUID]:
    """The accounts' ids by those of the names that accounts of the service have, in one statement."""
    indexes = {name: _index(tx, name) for name in names}
    query = select(DirectoryEntry.name_index, DirectoryEntry.account_id).where(
        DirectoryEntry.service == service,
        DirectoryEntry.name_index == any_(literal(sorted(indexes.values()), ARRAY(LargeBinary))),
    )
    found = {bytes(index): account_id for index, account_id in tx.connection.execute(query)}
    return {name: found[index] for name, index in indexes.items() if index in found}


def _index(tx: Tx, account_name: str) -> bytes:
    return tx.keys.blind_index(NAME, normalised(account_name))
