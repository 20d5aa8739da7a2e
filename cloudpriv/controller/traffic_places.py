"""Whose traffic it is: the account, device and person that records name, looked up once for a batch.

Names are found by blind index, an account's by the directory of the caller's service and the others in their account.
"""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, LargeBinary, Uuid, any_, literal, or_, select

from cloudpriv.controller import directory
from cloudpriv.controller.devices import common_name_index, serial_index
from cloudpriv.controller.people import username_index
from cloudpriv.controller.tables import Account, AccountKey, Device, Person
from cloudpriv.controller.traffic_records import NULL
from cloudpriv.platform.db import Tx
from cloudpriv.platform.keys import DataKey, WrappedKey
from cloudpriv.platform.rejections import Fault

UNKNOWN_ACCOUNT: Final = Fault("unknown_account", "account is no account of this service")
UNKNOWN_DEVICE: Final = Fault("unknown_device", "device is no device of the account")

Named = tuple[str, str, str | None]
"""Account, device and username as a record names them."""
InAccount = tuple[UUID, str]


def find_places(tx: Tx, named: set[Named]) -> dict[Named, str | Fault]:
    """For each: ids of account, device and person as three columns for COPY, or why there are none.

    An active device wins over a removed one, and then its id over its serial over its common name. A username that the
    account does not know leaves the person open: the traffic is the account's all the same.
    """
    keys = _find_accounts(tx, {account for account, _, _ in named})
    owned = [(keys[account], device, username) for account, device, username in named if account in keys]
    devices = _find_devices(tx, {(key.account_id, device): key for key, device, _ in owned})
    keys = _without_erased(tx, keys, {key.account_id for key, device, _ in owned if (key.account_id, device) not in devices})
    people = _find_people(tx, {(key.account_id, username): key for key, _, username in owned if username})
    places: dict[Named, str | Fault] = {}
    for account, device, username in named:
        key = keys.get(account)
        place = UNKNOWN_ACCOUNT if key is None else _place(key.account_id, device, username, devices, people)
        places[account, device, username] = place
    return places


def _without_erased(tx: Tx, keys: dict[str, DataKey], doubtful: set[UUID]) -> dict[str, DataKey]:
    # An erasure ends an account's key before its devices: what still has its key had its devices when they were looked for.
    query = select(AccountKey.account_id).where(AccountKey.account_id == _any_id(doubtful))
    erased = doubtful - set(tx.connection.scalars(query)) if doubtful else doubtful
    return {account: key for account, key in keys.items() if key.account_id not in erased}


def _place(account_id: UUID, device: str, username: str | None, devices: dict[InAccount, UUID],
           people: dict[InAccount, UUID]) -> str | Fault:  # fmt: skip
    device_id = devices.get((account_id, device))
    if device_id is None:
        return UNKNOWN_DEVICE
    person_id = people.get((account_id, username)) if username else None
    return f"{account_id}\t{device_id}\t{person_id or NULL}"


def _find_accounts(tx: Tx, texts: set[str]) -> dict[str, DataKey]:
    names = directory.find_ids(tx, tx.actor.service, texts)
    ids = {text: parsed for text in texts if (parsed := _uuid(text)) is not None}
    query = select(Account.account_id, Account.service, AccountKey.kek_id, AccountKey.wrapped).join(
        AccountKey, AccountKey.account_id == Account.account_id
    )
    query = query.where(Account.account_id == _any_id([*names.values(), *ids.values()]))
    keys = {
        account_id: tx.keys.data_key(account_id, WrappedKey(kek_id, wrapped))
        for account_id, service, kek_id, wrapped in tx.connection.execute(query)
        if tx.actor.service in (None, service)
    }
    by_name = {text: keys[account_id] for text, account_id in names.items() if account_id in keys}
    return by_name | {text: keys[account_id] for text, account_id in ids.items() if account_id in keys}


def _find_devices(tx: Tx, named: dict[InAccount, DataKey]) -> dict[InAccount, UUID]:
    wanted = {
        (account_id, text): (_id_bytes(text), serial_index(key, text), common_name_index(key, text))
        for (account_id, text), key in named.items()
    }
    known = _known_devices(tx, {account_id for account_id, _ in wanted}, wanted.values())
    found: dict[InAccount, UUID] = {}
    for (account_id, text), matches in wanted.items():
        candidates = [known[account_id, match] for match in matches if (account_id, match) in known]
        if candidates:
            found[account_id, text] = max(candidates, key=lambda candidate: candidate[0])[1]
    return found


def _known_devices(
    tx: Tx, account_ids: set[UUID], wanted: Iterable[tuple[bytes, bytes, bytes]]
) -> dict[tuple[UUID, bytes | None], tuple[bool, UUID]]:
    """Whether active, and id, by account and each of the three ways to name a device."""
    ids, serials, common_names = zip(*wanted, strict=True) if wanted else ((), (), ())
    query = select(
        Device.account_id, Device.device_id, Device.serial_index, Device.common_name_index, Device.removed_at
    ).where(
        Device.account_id == _any_id(account_ids),
        or_(
            Device.device_id == _any_id([UUID(bytes=each) for each in ids if each]),
            Device.serial_index == _any_index(serials),
            Device.common_name_index == _any_index(common_names),
        ),
    )
    known: dict[tuple[UUID, bytes | None], tuple[bool, UUID]] = {}
    # Later rows replace earlier ones: what is active stands last, before it what was removed last.
    for account_id, device_id, serial, common_name, removed_at in tx.connection.execute(
        query.order_by(Device.removed_at.nulls_last(), Device.device_id)
    ):
        for match in (device_id.bytes, serial, common_name):
            known[account_id, match] = (removed_at is None, device_id)
    return known


def _find_people(tx: Tx, named: dict[InAccount, DataKey]) -> dict[InAccount, UUID]:
    if not named:
        return {}
    indexes = {(account_id, text): username_index(key, text) for (account_id, text), key in named.items()}
    query = select(Person.account_id, Person.username_index, Person.person_id).where(
        Person.account_id == _any_id({account_id for account_id, _ in named}),
        Person.username_index == _any_index(indexes.values()),
    )
    known = {(account_id, bytes(index)): person_id for account_id, index, person_id in tx.connection.execute(query)}
    return {
        (account_id, text): known[account_id, index]
        for (account_id, text), index in indexes.items()
        if (account_id, index) in known
    }


def _any_id(ids: Iterable[UUID]) -> ColumnElement[Any]:
    return any_(literal(list(ids), ARRAY(Uuid)))


def _any_index(indexes: Iterable[bytes]) -> ColumnElement[Any]:
    return any_(literal(list(indexes), ARRAY(LargeBinary)))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _id_bytes(text: str) -> bytes:
    parsed = _uuid(text)
    return b"" if parsed is None else parsed.bytes
