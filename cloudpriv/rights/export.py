"""Exports: a worker makes the archive that answers a request, and erases it when its time is over.

The row is the truth (law 3): an export may be run twice, stopped anywhere and finished by another worker. Every attempt
writes an object of its own, so a worker that was thought dead can never replace what another has finished.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import ColumnElement, select

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.tables import Account
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.rights import leases, requests
from cloudpriv.rights.archive import writing as archive
from cloudpriv.rights.archive.scope import Scope, scope_of
from cloudpriv.rights.archive.writing import Order
from cloudpriv.rights.leases import Lease, LeaseLostError
from cloudpriv.rights.tables import Export

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]
PAUSE: Final = timedelta(seconds=30)  # before another attempt, doubled with each
AT_ONCE: Final = 1000
PERSON_ERASED: Final = "person_erased"  # the failure of an export of a person who is gone


class PersonErasedError(Exception):
    """The person whose archive it is was erased, or only a legal hold keeps them."""


def run(
    plane: Plane, objects: ObjectStore, policy: Policy, export_id: UUID, clock: Clock, *, key: Ed25519PrivateKey
) -> None:
    """Make the archive of an export, signed with `key`, store it, and mark export and request; or find nothing to do.

    Stops without a trace in the object store when the account is erased meanwhile or another worker took over; the export
    of a person who was erased has failed. An attempt that fails is put off and counted, but for one that failed because a
    server was away; after ATTEMPTS the export has failed. Raises what made the attempt fail, unless it is that.
    """
    lease = leases.claim(plane, export_id, clock)
    if lease is None:
        return
    try:
        with lease.kept():
            digest = _store(lease, objects, policy, key)
        _mark_ready(lease, policy, digest)
    except PersonErasedError:
        _end_without(lease)
    except (LeaseLostError, NotFoundError):
        log.info("export_stopped", export=str(export_id))
        objects.delete_below(_object_key(lease))
    except BusyError:
        _put_off(lease, counted=False)
    except Exception:
        _put_off(lease, counted=True)
        with suppress(BusyError):
            objects.delete_below(_object_key(lease))
        raise


def unfinished(tx: Tx) -> list[UUID]:
    """Exports that wait for a worker, oldest first: new, put off until now, or left by a worker whose lease is over."""
    query = select(Export.export_id).join(Account, Account.account_id == Export.account_id)
    query = query.where(*leases.workable(tx.now), Account.status != "purging")
    return list(tx.session.scalars(query.order_by(Export.export_id).limit(AT_ONCE)))


def expire(plane: Plane, objects: ObjectStore, clock: Clock) -> int:
    """Erase up to AT_ONCE archives whose time is over, object first and then the row's mark; how many there were."""
    now = clock()
    with plane.transaction(WORKER, now, read_only=True) as tx:
        query = select(Export.account_id, Export.export_id).where(*over(now))
        found = tx.session.execute(query.limit(AT_ONCE)).all()
    for account_id, export_id in found:
        objects.delete_below(_folder(account_id, export_id))
        with plane.transaction(WORKER, now) as tx:
            _mark_expired(tx, account_id, export_id)
    return len(found)


def over(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What an export must be whose archive, or what a failed attempt left of one, is to be erased."""
    return Export.status.in_(("ready", "failed")), Export.expires_at <= now


def _store(lease: Lease, objects: ObjectStore, policy: Policy, key: Ed25519PrivateKey) -> str:
    """Write the archive to the object store from one snapshot; its SHA-256."""
    objects.delete_below(_folder(lease.account_id, lease.export_id))  # what earlier attempts left behind
    digest = sha256()
    with lease.plane.transaction(WORKER, lease.clock(), read_only=True) as tx:
        account = accounts.find_account(tx, lease.account_id)
        export = tx.session.get_one(Export, (lease.account_id, lease.export_id))
        scope = _scope(tx, account, export)
        lease.expected = archive.expected_rows(tx, scope)
        order = Order(policy, key, export.export_id, export.language, lease.wrote)
        with archive.streamed(tx, scope, order) as chunks:
            objects.put_stream(_object_key(lease), _watched(chunks, lease, digest), confirm=lease.confirm)
    return digest.hexdigest()


def _scope(tx: Tx, account: OpenedAccount, export: Export) -> Scope:
    try:
        return scope_of(tx, account, export.scope, export.person_id)
    except NotFoundError:
        raise PersonErasedError from None


def _watched(chunks: Iterator[bytes], lease: Lease, digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        lease.check()
        lease.written += len(chunk)
        digest.update(chunk)
        yield chunk


def _mark_ready(lease: Lease, policy: Policy, digest: str) -> None:
    now = lease.clock()
    with lease.plane.transaction(WORKER, now) as tx:
        export = lease.locked(tx)
        export.status, export.object_key, export.size, export.sha256 = "ready", _object_key(lease), lease.written, digest
        export.progress = 100
        export.ready_at, export.expires_at = now, policy.rule_for("export_archives").erasable_from(now)
        export.lease_owner = export.lease_until = None
        events.record(tx, "export.complete", account_id=export.account_id, subject_id=export.export_id)
        requests.answered(tx, policy, export)


def _end_without(lease: Lease) -> None:
    """End the export of a person who is not there any more: there is nobody to give an archive to."""
    with suppress(LeaseLostError), lease.plane.transaction(WORKER, lease.clock()) as tx:
        leases.give_up(tx, lease.locked(tx), PERSON_ERASED)


def _put_off(lease: Lease, *, counted: bool) -> None:
    """Hand the export back for a later attempt, or give it up. Should that fail too, the lease just ends."""
    with suppress(BusyError, LeaseLostError), lease.plane.transaction(WORKER, lease.clock()) as tx:
        export = lease.locked(tx)
        if counted and export.attempts >= leases.ATTEMPTS:
            leases.give_up(tx, export, "internal")
            return
        pause = PAUSE * 2 ** (export.attempts - 1)
        export.status, export.lease_owner, export.lease_until = "pending", None, tx.now + pause
        if not counted:
            export.attempts -= 1
        log.warning("export_put_off", export=str(export.export_id), counted=counted)


def _mark_expired(tx: Tx, account_id: UUID, export_id: UUID) -> None:
    export = tx.session.get(Export, (account_id, export_id), with_for_update=True)
    if export is None or export.status not in ("ready", "failed"):
        return
    if export.status == "failed":
        export.expires_at = None
        return
    export.status, export.object_key = "expired", None
    events.record(tx, "export.expire", account_id=account_id, subject_id=export_id)


def _folder(account_id: UUID, export_id: UUID) -> str:
    return f"exports/{account_id}/{export_id}/"


def _object_key(lease: Lease) -> str:
    return f"{_folder(lease.account_id, lease.export_id)}{lease.owner}.zip"
