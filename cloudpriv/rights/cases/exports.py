"""The exports that answer requests for a copy: begun with them, begun anew when one failed, handed over when one ends."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, case, select

from cloudpriv.audit import events
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError
from cloudpriv.platform.ids import new_id
from cloudpriv.rights.tables import Export, SubjectRequest

EXPORTED: Final = ("access", "portability")  # both are answered by one archive
SLOW: Final = timedelta(hours=1)  # an export older than this holds up nobody who asks anew


def start(tx: Tx, request: SubjectRequest, language: str) -> Export:
    """A new export that answers the request; a worker is woken for it."""
    export = Export(
        account_id=request.account_id,
        export_id=new_id(),
        request_id=request.request_id,
        person_id=request.person_id,
        scope=request.scope,
        language=language,
        status="pending",
        progress=0,
        attempts=0,
        created_at=tx.now,
    )
    tx.session.add(export)
    tx.session.flush()
    events.record(tx, "export.create", account_id=export.account_id, subject_id=export.export_id)
    tx.wake.append(("export", export.export_id))
    return export


def latest(tx: Tx, request: SubjectRequest) -> Export | None:
    """The export that counts of a request: the one that is ready, else the last that was begun."""
    query = select(Export).where(Export.account_id == request.account_id, Export.request_id == request.request_id)
    return tx.session.scalars(query.order_by(*counting(Export)).limit(1)).first()


def counting(export: Any) -> tuple[ColumnElement[Any], ...]:
    """The order of a request's exports, by the table or an alias of it: the one that counts comes first."""
    return case((export.status == "ready", 0), else_=1), export.export_id.desc()


def is_slow(tx: Tx, export: Export) -> bool:
    """Whether an export that has not ended was begun over an hour ago."""
    return export.status in ("pending", "running") and export.created_at <= tx.now - SLOW


def check_restart(tx: Tx, request: SubjectRequest) -> None:
    """Raises ConflictError unless the request waits for an export, and its last one has failed or is slow."""
    export = latest(tx, request)
    stuck = export is None or export.status == "failed" or is_slow(tx, export)
    if request.status != "in_progress" or request.type not in EXPORTED or request.duplicate_of is not None or not stuck:
        raise ConflictError("The request does not wait for an export that has failed.")


def stop(tx: Tx, request: SubjectRequest) -> None:
    """End the request's exports that have not ended: nobody waits for them. Whoever works on one loses its lease."""
    for export in _open(tx, request):
        export.status, export.failure = "failed", "not_wanted"
        export.lease_owner = export.lease_until = None
        export.expires_at = tx.now  # what was stored of it is erased as archives are whose time is over
        events.record(tx, "export.fail", account_id=export.account_id, subject_id=export.export_id)


def hand_over(tx: Tx, request: SubjectRequest, heir: SubjectRequest) -> None:
    """Have the exports of a request answer another from now on."""
    query = select(Export).where(Export.account_id == request.account_id, Export.request_id == request.request_id)
    for export in tx.session.scalars(query):
        export.request_id = heir.request_id


def _open(tx: Tx, request: SubjectRequest) -> list[Export]:
    query = select(Export).where(Export.account_id == request.account_id, Export.request_id == request.request_id)
    return list(tx.session.scalars(query.where(Export.status.in_(("pending", "running"))).with_for_update()))
