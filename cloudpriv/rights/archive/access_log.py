"""The access log of an archive: who read or changed what is in it, by the audit trail and without anybody's name."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, Uuid, case, cast, func, null, or_, select, union_all

from cloudpriv.audit.events import AuditEvent
from cloudpriv.controller.tables import Person
from cloudpriv.platform import bulk
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.rights.archive.scope import PERSON, Scope

NAME: Final = "access_log.csv"
# Who acted is told by kind: a client of the vendor's, a worker, an operator, or a person of the account. GDPR Article 15
# gives no right to the names of those who act for the controller (CJEU, C-579/21).
SHOWN: Final[dict[str, Any]] = {
    "event_id": AuditEvent.event_id,
    "at": AuditEvent.at,
    "actor": AuditEvent.actor_kind,
    "action": AuditEvent.action,
    "subject_id": AuditEvent.subject_id,
    "fields": AuditEvent.fields,
    "request_id": AuditEvent.request_id,
}


def query(scope: Scope) -> Select[Any]:
    """The events about the account, or about the person and by them, oldest first, for `bulk.csv_blocks`."""
    cells = (bulk.csv_cell(_shown(scope, name, column)).label(name) for name, column in SHOWN.items())
    return select(*cells).where(_about(scope)).order_by(AuditEvent.event_id)


def count(tx: Tx, scope: Scope) -> int:
    """How many events there are."""
    return tx.session.scalars(select(func.count()).select_from(AuditEvent).where(_about(scope))).one()


def _shown(scope: Scope, name: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column; of what the person did to others, whom that was done to is the others'."""
    if scope.person_id is None or name != "subject_id":
        return column
    return case((_of_own(scope), column), else_=null())


def _about(scope: Scope) -> ColumnElement[bool]:
    of_account = AuditEvent.account_id == scope.account_id
    if scope.person_id is None:
        return of_account
    by_person = (AuditEvent.actor_id == str(scope.person_id)) & AuditEvent.actor_kind.in_(("owner", "member"))
    return of_account & or_(by_person, _of_own(scope))


def _of_own(scope: Scope) -> ColumnElement[bool]:
    """That an event is about the person, or about something that is theirs alone: a request, a session, a consent."""
    own = [select(cast(scope.person_id, Uuid))]
    for table in erased_tables(ControllerBase.metadata):
        if _names_person_in_rows(table):
            identifier = list(table.primary_key.columns)[-1]
            named = (table.columns["account_id"] == scope.account_id) & (table.columns[PERSON] == scope.person_id)
            own.append(select(identifier).where(named))
    return AuditEvent.subject_id.in_(union_all(*own))


def _names_person_in_rows(table: Table) -> bool:
    """Whether a table has ids of their own for rows that name a person; traffic has none that events would name."""
    last = list(table.primary_key.columns)[-1]
    return (
        PERSON in table.columns
        and table.name != Person.__tablename__
        and isinstance(last.type, Uuid)
        and last.name != PERSON
    )
