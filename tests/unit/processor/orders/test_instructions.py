"""Instructions: what the customer lets the vendor do, for as long and as far as it says, and nothing without one."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.errors import BusyError, ConflictError, ForbiddenError, InvalidError, NotFoundError, StaleError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor.order_tables import LogDeletion, LogExport, LogInstruction
from cloudpriv.processor.orders import instructions, support
from cloudpriv.processor.orders.instructions import Instruction, Kind, Wanted
from cloudpriv.processor.orders.support import Opened
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.tables import LogAccount, LogEvent
from tests.logdata import carry_out, log_transaction, make_log_account, reader_actor
from tests.retained import put_points, times_of

NOW = datetime.now(UTC)  # of instructions the clock of the database counts too
DAY = timedelta(days=1)
INSTANT = timedelta.resolution
SUPPORT = Actor("client", str(new_id()), "talk2m", frozenset({"logdata:support"}))
READ = Wanted("support_read", until=NOW + DAY)


@pytest.fixture
def account_id(processor: ProcessorServices) -> UUID:
    """An account with two devices."""
    made = make_log_account(processor)
    put_points(processor, made, "pump-1", "level", [NOW - 2 * DAY, NOW - DAY, NOW], now=NOW)
    put_points(processor, made, "pump-2", "flow", [NOW], now=NOW)
    return made


def give(processor: ProcessorServices, account_id: UUID, wanted: Wanted = READ, now: datetime = NOW) -> Instruction:
    with log_transaction(processor, reader_actor(processor, account_id), now) as tx:
        return instructions.give(tx, account_id, wanted)


def read(processor: ProcessorServices, given: Instruction, now: datetime = NOW) -> Instruction:
    with log_transaction(processor, now=now) as tx:
        return instructions.read(tx, given.row.account_id, given.row.instruction_id)


def opened(processor: ProcessorServices, given: Instruction, now: datetime = NOW, actor: Actor = SUPPORT) -> Opened:
    with log_transaction(processor, actor, now) as tx:
        return support.open_to_support(tx, given.row.instruction_id)


def withdraw(processor: ProcessorServices, given: Instruction, version: int = 1) -> None:
    with log_transaction(processor) as tx:
        instructions.withdraw(tx, given.row.account_id, given.row.instruction_id, version)


def test_a_running_instruction_opens_what_it_names(processor: ProcessorServices, account_id: UUID) -> None:
    of_level = replace(READ, device="pump-1", tag="level", since=NOW - 2 * DAY, before=NOW)
    given = give(processor, account_id, replace(of_level, note="ticket 4711"))
    assert (given.device, given.tag, given.note, given.status) == ("pump-1", "level", "ticket 4711", "running")
    found = opened(processor, given)
    assert found.account.row.account_id == account_id
    device_id, tag_id = given.row.device_id, given.row.tag_id
    assert device_id is not None
    assert tag_id is not None
    assert found.selection == Selection([device_id], [tag_id], NOW - 2 * DAY, NOW)
    assert times_of(processor, account_id, found.selection) == [NOW - 2 * DAY, NOW - DAY]


def test_without_an_instruction_nothing_opens(processor: ProcessorServices, account_id: UUID) -> None:
    given = give(processor, account_id)
    with pytest.raises(ForbiddenError), log_transaction(processor, SUPPORT, NOW) as tx:
        support.open_to_support(tx, new_id())
    for kind, more in (("delete", {"device": "pump-1"}), ("export", {"format": "csv"})):
        other = give(processor, account_id, Wanted(kind, **more))  # type: ignore[arg-type]  # of the two kinds
        with pytest.raises(ForbiddenError):
            opened(processor, other)
    assert opened(processor, given)


@pytest.mark.parametrize(
    ("now", "runs"),
    [(NOW - INSTANT, True), (NOW + DAY - INSTANT, True), (NOW + DAY, False), (NOW + 90 * DAY, False)],
)
def test_it_ends_when_its_time_is_over(processor: ProcessorServices, account_id: UUID, now: datetime, runs: bool) -> None:
    given = give(processor, account_id)
    assert read(processor, given, now).status == ("running" if runs else "over")
    with nullcontext() if runs else pytest.raises(ForbiddenError):
        opened(processor, given, now)


def moved(owner: Engine, given: Instruction, by: timedelta) -> None:
    """Have an instruction be given and end at other times."""
    with owner.begin() as connection:
        change = (
            "UPDATE processor.log_instructions SET given_at = given_at + :by, until = until + :by WHERE instruction_id = :id"
        )
        connection.execute(text(change), {"by": by, "id": given.row.instruction_id})


def test_a_host_clock_that_was_set_back_brings_none_to_life_again(
    processor: ProcessorServices, processor_owner: Engine, account_id: UUID
) -> None:
    given = give(processor, account_id)
    moved(processor_owner, given, -2 * DAY)
    assert read(processor, given, NOW - 2 * DAY).status == "over"
    with pytest.raises(ForbiddenError):
        opened(processor, given, NOW - 2 * DAY)


def test_nothing_opens_before_it_was_given(processor: ProcessorServices, processor_owner: Engine, account_id: UUID) -> None:
    given = give(processor, account_id)
    moved(processor_owner, given, DAY)
    with pytest.raises(ForbiddenError):
        opened(processor, given, NOW)


def test_a_withdrawn_instruction_opens_nothing_from_then_on(processor: ProcessorServices, account_id: UUID) -> None:
    given = give(processor, account_id)
    with pytest.raises(StaleError):
        withdraw(processor, given, version=2)
    assert opened(processor, given)
    withdraw(processor, given)
    assert (read(processor, given).status, read(processor, given).version) == ("withdrawn", 2)
    with pytest.raises(ForbiddenError):
        opened(processor, given)
    withdraw(processor, given, version=2)
    with log_transaction(processor) as tx:
        told = select(LogEvent.action).where(LogEvent.instruction_id == given.row.instruction_id)
        done = ["instruction.give", "points.read", "instruction.withdraw"]
        assert tx.session.scalars(told.order_by(LogEvent.event_id)).all() == done


@pytest.mark.parametrize("service", ["intesis", None])
def test_support_of_another_service_reads_nothing(processor: ProcessorServices, account_id: UUID, service: Any) -> None:
    given = give(processor, account_id)
    with pytest.raises(ForbiddenError):
        opened(processor, given, actor=replace(SUPPORT, service=service))


def test_an_account_that_is_erased_opens_nothing(processor: ProcessorServices, processor_owner: Engine,
                                                 account_id: UUID) -> None:  # fmt: skip
    given = give(processor, account_id)
    with processor_owner.begin() as connection:
        connection.execute(text("UPDATE processor.log_accounts SET erasing_at = now()"))
    with pytest.raises(ForbiddenError):
        opened(processor, given)
    with pytest.raises(NotFoundError):
        give(processor, account_id)


def test_no_instruction_is_given_while_it_is_found_out_whether_the_account_goes(
    processor: ProcessorServices, account_id: UUID
) -> None:
    actor = reader_actor(processor, account_id)
    with log_transaction(processor) as tx:
        tx.session.get_one(LogAccount, account_id).closing_until = utc_now() + timedelta(minutes=5)
    with pytest.raises(BusyError), log_transaction(processor, actor, NOW) as tx:
        instructions.give(tx, account_id, READ)


def test_a_deletion_is_carried_out_and_says_how_it_went(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    given = give(processor, account_id, Wanted("delete", "pump-1", before=NOW))
    assert times_of(processor, account_id) == [NOW, NOW], "in no answer from the moment that it was given"
    assert (given.status, given.row.outcome_id is None) == ("pending", False)
    carry_out(processor_worker)
    done = read(processor, given)
    assert isinstance(done.outcome, LogDeletion)
    assert (done.status, done.outcome.points, done.outcome.trigger) == ("done", 2, "instruction")
    assert done.outcome.trigger_id == given.row.instruction_id
    with pytest.raises(ConflictError):
        withdraw(processor, given)


def test_an_export_is_carried_out_and_says_how_it_went(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    given = give(processor, account_id, Wanted("export", "pump-1", "level", format="ndjson"))
    assert (given.status, given.format) == ("pending", "ndjson")
    carry_out(processor_worker)
    done = read(processor, given)
    assert isinstance(done.outcome, LogExport)
    assert (done.status, done.outcome.points, done.outcome.format) == ("done", 3, "ndjson")


REFUSED: list[tuple[Kind, dict[str, Any], list[str]]] = [
    ("support_read", {}, ["/until"]),
    ("support_read", {"until": NOW}, ["/until"]),
    ("support_read", {"until": NOW + 90 * DAY + INSTANT}, ["/until"]),
    ("support_read", {"until": NOW + DAY, "format": "csv"}, ["/format"]),
    ("support_read", {"until": NOW + DAY, "since": NOW, "before": NOW}, ["/before"]),
    ("delete", {}, [""]),
    ("delete", {"device": "pump-1", "until": NOW + DAY}, ["/until"]),
    ("delete", {"tag": "level", "before": NOW}, ["/device"]),
    ("export", {}, ["/format"]),
    ("export", {"format": "csv", "device": "pump-9"}, ["/device"]),
    ("export", {"format": "csv", "device": "pump-2", "tag": "level"}, ["/tag"]),
]


def test_an_instruction_that_says_too_little_or_too_much_is_refused(processor: ProcessorServices, account_id: UUID) -> None:
    for kind, more, pointers in REFUSED:
        with pytest.raises(InvalidError) as refused:
            give(processor, account_id, Wanted(kind, **more))
        assert [fault.pointer for fault in refused.value.errors] == pointers, (kind, more)
    with log_transaction(processor) as tx:
        assert tx.session.scalars(select(LogInstruction)).all() == []


def test_what_the_customer_wrote_lies_sealed(processor: ProcessorServices, account_id: UUID) -> None:
    given = give(processor, account_id, replace(READ, note="the canary sings at night"))
    assert b"canary" not in given.row.detail
    assert read(processor, given).note == "the canary sings at night"


def test_instructions_are_listed_in_pages_and_only_the_accounts_own(processor: ProcessorServices, account_id: UUID) -> None:
    mine = [give(processor, account_id).row.instruction_id for _ in range(3)]
    stranger = make_log_account(processor)
    foreign = give(processor, stranger)
    with log_transaction(processor) as tx:
        page = instructions.list_given(tx, account_id, after=None, limit=1)
        assert [each.row.instruction_id for each in page] == mine[:2]
        rest = instructions.list_given(tx, account_id, after=mine[0], limit=10)
        assert [each.row.instruction_id for each in rest] == mine[1:]
    for way in (instructions.read, partial(instructions.withdraw, version=1)):
        with pytest.raises(NotFoundError), log_transaction(processor) as tx:
            way(tx, account_id, foreign.row.instruction_id)
