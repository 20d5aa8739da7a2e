"""The clocks of requests and of the archives that answer them: the same engine as in `cloudpriv.retention.clocks`."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from cloudpriv.controller.holder_tables import HolderSession, OneTimeCode
from cloudpriv.platform.classify import Category
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.retention.clocks import At, Clock, Now, Rows, not_held, of_rows
from cloudpriv.retention.tables import Hold
from cloudpriv.rights import export
from cloudpriv.rights.cases.states import ENDED
from cloudpriv.rights.tables import Export, SubjectRequest


def archives(objects: ObjectStore) -> Clock:
    """The clock of archives in the object store. An archive's row says when its time is over: its reader was told."""

    def count(tx: Tx, _: datetime) -> int:
        return tx.session.scalars(select(func.count()).where(*export.over(tx.now))).one()

    def erase(plane: Plane, _: Policy, clock: Now) -> int:
        total = erased = export.expire(plane, objects, clock)
        while erased == export.AT_ONCE:
            erased = export.expire(plane, objects, clock)
            total += erased
        return total

    return Clock("export_archives", frozenset(), count, erase)


def _answered(at: At) -> ColumnElement[bool]:
    held = or_(Hold.category == Category.ACCOUNT, Hold.person_id == SubjectRequest.person_id)
    kept = not_held(SubjectRequest.account_id, held, at.now)
    return and_(SubjectRequest.status.in_(ENDED), SubjectRequest.completed_at < at.cutoff, kept)


def _with_its_archive_gone(at: At) -> ColumnElement[bool]:
    gone = or_(Export.status == "expired", and_(Export.status == "failed", Export.expires_at.is_(None)))
    return and_(gone, _answered(at))


def _without_exports(at: At) -> ColumnElement[bool]:
    same = and_(Export.account_id == SubjectRequest.account_id, Export.request_id == SubjectRequest.request_id)
    return and_(_answered(at), ~exists().where(same))


REQUESTS: Final = of_rows(
    "finished_requests",
    Rows(Export, _with_its_archive_gone, parent=SubjectRequest),
    Rows(SubjectRequest, _without_exports, told="request.erase"),
)

# A session is over by itself, and signing out ends it too, whatever is held: that it was stays in the audit trail.
SESSIONS: Final = of_rows("portal_sessions", Rows(HolderSession, lambda at: HolderSession.created_at < at.cutoff))
CODES: Final = of_rows("one_time_codes", Rows(OneTimeCode, lambda at: OneTimeCode.created_at < at.cutoff))
