"""Requests of data subjects, and the exports that answer them (GDPR Articles 12, 15 and 20)."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Select, select

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.controller.tables import Account
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountClosingError, GoneError, NotFoundError, NotReadyError
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.periods import answer_due_on
from cloudpriv.policy.register import Policy
from cloudpriv.rights.tables import Export, SubjectRequest

RequestType = Literal["access", "portability"]
TYPES: Final[tuple[RequestType, ...]] = ("access", "portability")


@dataclass(frozen=True)
class KnownRequest:
    """A request and the export that answers it."""

    row: SubjectRequest
    export: Export


def receive(tx: Tx, policy: Policy, account_id: UUID, type_: RequestType) -> KnownRequest:
    """Take a request for a copy of an account's data and start its export; both types are answered by one archive.

    The caller has verified the person's identity. The answer is due by the law of the country of the account's controller
    (Article 12(3)). A restricted account is exported too (Article 18(2)); raises AccountClosingError for one that is being
    erased, NotFoundError.
    """
    account = accounts.find_account(tx, account_id, lock=True).row
    if account.status in ("closing", "purging"):
        raise AccountClosingError
    row = SubjectRequest(
        account_id=account_id,
        request_id=new_id(),
        scope="account",
        type=type_,
        status="in_progress",
        channel="backend",
        identity_method="backend",
        identity_verified_by=f"{tx.actor.kind} {tx.actor.id}",
        identity_verified_at=tx.now,
        received_at=tx.now,
        due_on=answer_due_on(tx.now, policy.controller_of(account.service).country),
        version=1,
    )
    events.record(tx, "request.create", account_id=account_id, subject_id=row.request_id)
    return KnownRequest(row, _start_export(tx, row))


def read_request(tx: Tx, request_id: UUID) -> KnownRequest:
    """The request, audited. Raises NotFoundError, also for one of another service."""
    found = tx.session.execute(_visible(tx).where(SubjectRequest.request_id == request_id)).one_or_none()
    if found is None:
        raise NotFoundError
    events.record(tx, "request.read", account_id=found[0].account_id, subject_id=request_id)
    return KnownRequest(found[0], found[1])


def list_requests(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int) -> list[KnownRequest]:
    """Requests of the account, oldest first, and one more than `limit` if there is one; audited as one read."""
    accounts.find_account(tx, account_id)
    query = _visible(tx).where(SubjectRequest.account_id == account_id)
    if after is not None:
        query = query.where(SubjectRequest.request_id > after)
    events.record(tx, "request.list", account_id=account_id)
    query = query.order_by(SubjectRequest.request_id).limit(limit + 1)
    return [KnownRequest(row, export) for row, export in tx.session.execute(query)]


def read_export(tx: Tx, export_id: UUID) -> Export:
    """The state of an export, audited. Raises NotFoundError, also for one of another service."""
    export, _ = _find_export(tx, export_id)
    events.record(tx, "export.read", account_id=export.account_id, subject_id=export_id)
    return export


def open_archive(tx: Tx, export_id: UUID) -> str:
    """The key of a ready export's archive in the object store; audited as a download.

    Raises NotReadyError before it is ready, GoneError from its expiry or the account's erasure on, NotFoundError.
    """
    export, status = _find_export(tx, export_id)
    if export.status in ("pending", "running"):
        raise NotReadyError
    if export.status == "failed":
        raise NotReadyError("The archive could not be made; the request is still open.")
    over = export.expires_at is None or export.expires_at <= tx.now
    if export.status == "expired" or over or status == "purging" or export.object_key is None:
        raise GoneError
    events.record(tx, "export.download", account_id=export.account_id, subject_id=export_id)
    return export.object_key


def _start_export(tx: Tx, request: SubjectRequest) -> Export:
    export = Export(
        account_id=request.account_id,
        export_id=new_id(),
        request_id=request.request_id,
        person_id=request.person_id,
        scope=request.scope,
        language="en",
        status="pending",
        progress=0,
        attempts=0,
        created_at=tx.now,
    )
    tx.session.add(request)
    tx.session.flush()
    tx.session.add(export)
    tx.session.flush()
    events.record(tx, "export.create", account_id=export.account_id, subject_id=export.export_id)
    tx.wake.append(("export", export.export_id))
    return export


def _find_export(tx: Tx, export_id: UUID) -> tuple[Export, str]:
    query = select(Export, Account.service, Account.status).join(Account, Account.account_id == Export.account_id)
    found = tx.session.execute(query.where(Export.export_id == export_id)).one_or_none()
    if found is None or tx.actor.service not in (None, found[1]):
        raise NotFoundError
    return found[0], found[2]


def _visible(tx: Tx) -> Select[SubjectRequest, Export]:
    query = select(SubjectRequest, Export).join(
        Export,
        (Export.account_id == SubjectRequest.account_id) & (Export.request_id == SubjectRequest.request_id),
    )
    query = query.join(Account, Account.account_id == SubjectRequest.account_id)
    return query if tx.actor.service is None else query.where(Account.service == tx.actor.service)
