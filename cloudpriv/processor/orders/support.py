"""What a running instruction opens to the vendor's support.

It is the only way in which the vendor reads log data, with no other for emergencies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError, NotFoundError
from cloudpriv.processor import accounts, events
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import LogInstruction
from cloudpriv.processor.orders.instructions import detail_of, faster_clock, selected, status_of
from cloudpriv.processor.orders.scope import Scope
from cloudpriv.processor.query import formats, naming
from cloudpriv.processor.storage.chunks import Selection


@dataclass(frozen=True)
class Opened:
    """What a running instruction opens to support: selected points of an account, of tags with these names."""

    account: OpenedLogAccount
    selection: Selection
    names: formats.Names

    def narrowed(self, device: str | None, tag: str | None, since: datetime | None, until: datetime | None) -> Selection:
        """Of what is asked for, what is opened; names that are not opened are as good as ones that are not there."""
        tag_ids = [
            tag_id for tag_id, called in self.names.items() if device in (None, called[0]) and tag in (None, called[1])
        ]
        latest = max((each for each in (self.selection.since, since) if each is not None), default=None)
        earliest = min((each for each in (self.selection.until, until) if each is not None), default=None)
        return replace(self.selection, tag_ids=tag_ids, since=latest, until=earliest)


def open_to_support(tx: Tx, instruction_id: UUID, asked: Sequence[str] = ()) -> Opened:
    """What this instruction lets the acting client of the vendor read now; that it reads is told to the customer.

    `asked` are the names of what it narrows that by, which is told too. Raises as `require_running`.
    """
    row, account = require_running(tx, instruction_id)
    selection = selected(Scope(row.device_id, row.tag_id), row.since, row.before)
    names = naming.names_of(tx, account, selection.device_ids)
    if row.tag_id is not None:
        names = {row.tag_id: names[row.tag_id]}
    events.record(
        tx, "points.read", account_id=row.account_id, subject_id=row.device_id, instruction_id=instruction_id, fields=asked
    )
    return Opened(account, selection, names)


def require_running(tx: Tx, instruction_id: UUID) -> tuple[LogInstruction, OpenedLogAccount]:
    """The instruction that lets the acting client of the vendor read now. Raises ForbiddenError unless it runs.

    It runs from when it was given until its time is over by the faster of the clocks of host and database: a clock that was
    put back brings none to life again. A client of another service than the account's is refused too.
    """
    found = LogInstruction.instruction_id == instruction_id
    row = tx.session.scalar(select(LogInstruction).where(found, LogInstruction.kind == "support_read"))
    if row is None or status_of(row, None, faster_clock(tx)) != "running":
        raise ForbiddenError
    try:
        account = accounts.find_account(tx, row.account_id)
    except NotFoundError:  # it is being erased
        raise ForbiddenError from None
    if detail_of(account, row)["service"] != tx.actor.service:
        raise ForbiddenError
    return row, account
