"""Looking at requests and exports: each look is audited, and shows a caller what is theirs to see and nothing else.

Staff see what belongs to their service, an owner what belongs to the account, a member what is about that person. Of what
others of the account ask about themselves, an owner sees that they asked and how it stands, and neither words nor copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import aliased

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.tables import Account
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import GoneError, NotFoundError, NotReadyError
from cloudpriv.rights.cases import deadlines
from cloudpriv.rights.cases.details import open_details
from cloudpriv.rights.cases.exports import counting
from cloudpriv.rights.tables import Export, SubjectRequest


@dataclass(frozen=True)
class KnownRequest:
    """A request, the export that answers it if there is one, and what was asked and said, opened.

    A duplicate is answered by the export of the request that it is tied to.
    """

    row: SubjectRequest
    export: Export | None
    details: dict[str, Any]
    is_told: bool = True  # False: an owner sees that a member asked, and how it stands, but not what was asked and said

    @property
    def answer(self) -> Export:
        """The export. Raises NotFoundError where none was begun."""
        if self.export is None:
            raise NotFoundError
        return self.export


@dataclass(frozen=True)
class Waiting:
    """How many requests wait for an answer, and the last day to give the one that is due first."""

    number: int
    due_on: date | None


def read_request(tx: Tx, request_id: UUID) -> KnownRequest:
    """The request, audited. Raises NotFoundError, also for what the caller may not see."""
    found = tx.session.execute(_requests(tx).where(SubjectRequest.request_id == request_id)).one_or_none()
    if found is None:
        raise NotFoundError
    row, export = found
    account = accounts.find_account(tx, row.account_id)
    events.record(tx, "request.read", account_id=row.account_id, subject_id=request_id)
    return known_to(tx, account, row, export)


def list_requests(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int) -> list[KnownRequest]:
    """Requests of the account, oldest first, and one more than `limit` if there is one; audited as one read."""
    account = accounts.find_account(tx, account_id)
    query = _page(_requests(tx).where(SubjectRequest.account_id == account_id), after, limit)
    events.record(tx, "request.list", account_id=account_id)
    return [known_to(tx, account, row, export) for row, export in tx.session.execute(query)]


def list_latest(tx: Tx, account_id: UUID, *, exported: bool = False, before: UUID | None, limit: int) -> list[KnownRequest]:
    """As `list_requests`, latest first; with `exported` those alone that an export of their own answers."""
    account = accounts.find_account(tx, account_id)
    query = _requests(tx).where(SubjectRequest.account_id == account_id)
    if exported:
        query = query.where(Export.export_id.is_not(None), SubjectRequest.duplicate_of.is_(None))
    if before is not None:
        query = query.where(SubjectRequest.request_id < before)
    events.record(tx, "request.list", account_id=account_id)
    rows = tx.session.execute(query.order_by(SubjectRequest.request_id.desc()).limit(limit + 1))
    return [known_to(tx, account, row, export) for row, export in rows]


def count_open(tx: Tx, account_id: UUID) -> Waiting:
    """What of the account waits for an answer and the caller may see, however much it is; audited as one read."""
    accounts.find_account(tx, account_id)
    query = select(func.count(), func.min(SubjectRequest.due_on)).select_from(SubjectRequest)
    query = query.join(Account, Account.account_id == SubjectRequest.account_id).where(*deadlines.open_now())
    query = query.where(SubjectRequest.account_id == account_id, *_seen(tx, SubjectRequest))
    events.record(tx, "request.list", account_id=account_id)
    return Waiting(*tx.session.execute(query).one())


def known_to(tx: Tx, account: OpenedAccount, row: SubjectRequest, export: Export | None) -> KnownRequest:
    """The request as the caller may see it."""
    others = tx.actor.kind == "owner" and row.scope == "person" and str(row.person_id) != tx.actor.id
    if others:
        return KnownRequest(row, None, {}, is_told=False)
    return KnownRequest(row, export, open_details(account.key, row))


def list_open(tx: Tx, *, status: str | None = None, overdue: bool = False, nearly_due: bool = False, stuck: bool = False,
              after: UUID | None, limit: int) -> list[KnownRequest]:  # fmt: skip
    """Requests of all accounts that wait for an answer, as `list_requests`; one event for each that is shown.

    `stuck` ones wait for an export that has failed. Their details stay sealed: who answers one reads it by itself.
    """
    query = _requests(tx).where(*deadlines.open_now())
    if status is not None:
        query = query.where(SubjectRequest.status == status)
    if overdue:
        query = query.where(deadlines.overdue(tx.now))
    if nearly_due:
        query = query.where(deadlines.nearly_due(tx.now))
    if stuck:
        query = query.where(deadlines.waits_for_failed_export())
    found = [KnownRequest(row, export, {}) for row, export in tx.session.execute(_page(query, after, limit))]
    for known in found[:limit]:
        events.record(tx, "request.read", account_id=known.row.account_id, subject_id=known.row.request_id)
    return found


def read_export(tx: Tx, export_id: UUID) -> Export:
    """The state of an export, audited. Raises NotFoundError, also for what the caller may not see."""
    export, _ = _find_export(tx, export_id)
    events.record(tx, "export.read", account_id=export.account_id, subject_id=export_id)
    return export


def progress_of(tx: Tx, export_id: UUID) -> tuple[str, int]:
    """State and percent of an export. Raises NotFoundError, also for what the caller may not see.

    Not audited: it says nothing about a person, and a page that waits asks for it every few seconds.
    """
    export, _ = _find_export(tx, export_id)
    return export.status, export.progress


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


def find_row(tx: Tx, request_id: UUID, *, lock: bool = False) -> SubjectRequest:
    """The request's row, as it is now. Raises NotFoundError, also for what the caller may not see."""
    query = select(SubjectRequest).join(Account, Account.account_id == SubjectRequest.account_id)
    query = query.where(SubjectRequest.request_id == request_id, *_seen(tx, SubjectRequest))
    if lock:
        query = query.with_for_update(of=SubjectRequest)
    row = tx.session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise NotFoundError
    return row


def _requests(tx: Tx) -> Select[SubjectRequest, Export]:
    """Requests that the caller may see, each with the export that counts of it or of the one that it is tied to."""
    answering, made = func.coalesce(SubjectRequest.duplicate_of, SubjectRequest.request_id), aliased(Export)
    theirs = select(made.export_id).where(made.account_id == SubjectRequest.account_id, made.request_id == answering)
    counts = theirs.order_by(*counting(made)).limit(1).scalar_subquery()
    query = select(SubjectRequest, Export).join(Account, Account.account_id == SubjectRequest.account_id)
    query = query.outerjoin(
        Export,
        and_(Export.account_id == SubjectRequest.account_id, Export.export_id == counts, *_answers(tx)),
    )
    return query.where(*_seen(tx, SubjectRequest))


def _find_export(tx: Tx, export_id: UUID) -> tuple[Export, str]:
    query = select(Export, Account.status).join(Account, Account.account_id == Export.account_id)
    query = query.where(Export.export_id == export_id, *_seen(tx, Export), *_answers(tx))
    found = tx.session.execute(query).one_or_none()
    if found is None:
        raise NotFoundError
    return found[0], found[1]


def _seen(tx: Tx, table: type[SubjectRequest] | type[Export]) -> Iterator[ColumnElement[bool]]:
    """What a row of the table, joined with its account, must be for the caller to see it."""
    if tx.actor.service is not None:
        yield Account.service == tx.actor.service
    if tx.actor.account_id is not None:
        yield table.account_id == tx.actor.account_id
    if tx.actor.kind == "member":
        yield and_(table.scope == "person", table.person_id == UUID(tx.actor.id))


def _answers(tx: Tx) -> Iterator[ColumnElement[bool]]:
    """Which exports the caller may see: those of people's own data are theirs alone, and staff's to look after."""
    if tx.actor.kind == "owner":
        yield or_(Export.scope == "account", Export.person_id == UUID(tx.actor.id))


def _page(query: Select[SubjectRequest, Export], after: UUID | None, limit: int) -> Select[SubjectRequest, Export]:
    if after is not None:
        query = query.where(SubjectRequest.request_id > after)
    return query.order_by(SubjectRequest.request_id).limit(limit + 1)
