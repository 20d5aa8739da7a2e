"""Retention that the customer sets: the narrowest rule counts, nothing goes early, and no rule brings anything back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import InvalidError, NotFoundError, StaleError
from cloudpriv.processor import accounts
from cloudpriv.processor.order_tables import LogDeletion
from cloudpriv.processor.orders import deletions, retention
from cloudpriv.processor.orders.retention import RuleIn
from cloudpriv.processor.tables import LogAccount, LogEvent, LogTask
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account
from tests.retained import put_points, times_of
from workers import processor_schedule

DAY = timedelta(days=1)
ALL = RuleIn(None, None, "P30D")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def account_id(processor: ProcessorServices) -> UUID:
    """An account with log data."""
    return make_log_account(processor)


def put_rules(processor: ProcessorServices, account_id: UUID, *rules: RuleIn, now: datetime = NOW) -> retention.Rules:
    with log_transaction(processor, now=now) as tx:
        version = retention.read_rules(tx, account_id).version
        return retention.set_rules(tx, account_id, rules, version)


def enforce(worker: ProcessorServices, account_id: UUID, now: datetime = NOW + DAY) -> Sequence[LogDeletion]:
    """Look after the account on a day, and erase what was ordered; the orders."""
    retention.enforce(worker.plane, account_id, lambda: now)
    with log_transaction(worker) as tx:
        query = select(LogDeletion).where(LogDeletion.account_id == account_id, LogDeletion.status == "pending")
        found = tx.session.scalars(query.order_by(LogDeletion.deletion_id)).all()
    for row in found:
        deletions.carry_out(worker.plane, worker.objects, lambda: now, account_id, row.deletion_id)
    return found


@pytest.mark.parametrize("text", ["P10D", "P1M", "P1Y2M3D", "P10Y", "P120M", "P3652D"])
def test_a_period_from_ten_days_to_ten_years_is_one(text: str) -> None:
    assert str(retention.parse(text)) == text


@pytest.mark.parametrize("text", ["P9D", "P10Y1D", "P121M", "P3653D", "P2W", "PT240H", "10 days", "P", "p10d", ""])
def test_no_other_period_is_one(text: str) -> None:
    with pytest.raises(ValueError, match="period"):
        retention.parse(text)


def test_without_a_rule_nothing_goes(processor: ProcessorServices, processor_worker: ProcessorServices,
                                     account_id: UUID) -> None:  # fmt: skip
    put_points(processor, account_id, "pump-1", "level", [at("1999-01-01")])
    assert enforce(processor_worker, account_id) == []
    assert len(times_of(processor, account_id)) == 1


def test_points_go_on_the_day_after_their_period_and_not_a_moment_before(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    put_rules(processor, account_id, ALL, now=at("2026-05-01"))
    times = [at("2026-05-01T00:00:00"), at("2026-05-01T23:59:59.999999"), at("2026-05-02T00:00:00")]
    put_points(processor, account_id, "pump-1", "level", times)
    early = at("2026-05-31T23:59:59.999999")
    assert enforce(processor_worker, account_id, early) == []
    assert times_of(processor, account_id) == times
    [order] = enforce(processor_worker, account_id, at("2026-06-01T00:00:00"))
    assert (order.before, order.trigger, order.requested_by) == (at("2026-05-02"), "retention", "worker:worker")
    assert times_of(processor, account_id) == times[2:]


def test_the_narrowest_rule_counts(processor: ProcessorServices, processor_worker: ProcessorServices,
                                   account_id: UUID) -> None:  # fmt: skip
    old = [NOW - 100 * DAY]
    for device in ("pump-1", "pump-2", "pump-3"):
        for tag in ("level", "flow"):
            put_points(processor, account_id, device, tag, old)
    pump_2 = RuleIn("pump-2", None, "P1Y")
    put_rules(processor, account_id, ALL, pump_2, RuleIn("pump-2", "flow", "P20D"), RuleIn("pump-3", "level", "P5Y"))
    orders = enforce(processor_worker, account_id)
    with log_transaction(processor) as tx:
        names = retention.read_rules(tx, account_id).names
        gone = [(names.devices[row.device_id], row.tag_id and names.tags[row.tag_id]) for row in orders if row.device_id]
    assert gone == [("pump-1", None), ("pump-2", "flow"), ("pump-3", "flow")]
    assert len(times_of(processor, account_id)) == 2, "pump-2's level and pump-3's level"


def test_a_rule_of_a_device_alone_touches_no_other(processor: ProcessorServices, processor_worker: ProcessorServices,
                                                   account_id: UUID) -> None:  # fmt: skip
    put_points(processor, account_id, "pump-1", "level", [NOW - 100 * DAY])
    put_points(processor, account_id, "pump-2", "level", [NOW - 101 * DAY])
    put_rules(processor, account_id, RuleIn("pump-1", None, "P30D"))
    enforce(processor_worker, account_id)
    assert times_of(processor, account_id) == [NOW - 101 * DAY]


def test_it_is_seen_to_once_a_day_and_never_on_the_day_a_rule_is_set(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    put_points(processor, account_id, "pump-1", "level", [NOW - 100 * DAY])
    put_rules(processor, account_id, ALL)
    assert enforce(processor_worker, account_id, NOW + timedelta(hours=11)) == []
    assert len(enforce(processor_worker, account_id, NOW + timedelta(hours=12))) == 1
    put_points(processor, account_id, "pump-1", "level", [NOW - 100 * DAY])
    assert enforce(processor_worker, account_id, NOW + timedelta(hours=13)) == []
    assert len(enforce(processor_worker, account_id, NOW + timedelta(hours=36))) == 1
    assert enforce(processor_worker, account_id, NOW + timedelta(hours=60)) == [], "nothing is left to go"


def test_a_host_clock_that_is_ahead_erases_nothing(processor: ProcessorServices, processor_worker: ProcessorServices,
                                                   account_id: UUID) -> None:  # fmt: skip
    now = datetime.now(UTC)
    put_rules(processor, account_id, ALL, now=now)
    put_points(processor, account_id, "pump-1", "level", [now], now=now)
    assert enforce(processor_worker, account_id, now + 3650 * DAY) == []
    with log_transaction(processor) as tx:
        assert tx.session.get_one(LogAccount, account_id).kept_on == now.date(), "and no day is skipped for it"


def test_accounts_with_rules_are_looked_after_each_day(processor: ProcessorServices, processor_worker: ProcessorServices,
                                                       account_id: UUID) -> None:  # fmt: skip
    make_log_account(processor)
    put_rules(processor, account_id, ALL)
    with log_transaction(processor_worker, WORKER, NOW) as tx:
        assert retention.enqueue_due(tx, 10) == 0, "it was set today"
    with log_transaction(processor_worker, WORKER, NOW + DAY) as tx:
        assert retention.enqueue_due(tx, 10) == 1
        assert retention.enqueue_due(tx, 10) == 0, "it waits already"
    with log_transaction(processor_worker) as tx:
        assert tx.session.scalars(select(LogTask.account_id).where(LogTask.kind == retention.TASK)).all() == [account_id]
    retention.enforce(processor_worker.plane, account_id, lambda: NOW + DAY)
    with log_transaction(processor_worker, WORKER, NOW + 2 * DAY) as tx:
        assert retention.enqueue_due(tx, 10) == 0, "the task of yesterday still waits"


def test_schedule_and_worker_erase_what_is_over(processor: ProcessorServices, processor_worker: ProcessorServices,
                                                account_id: UUID) -> None:  # fmt: skip
    now = datetime.now(UTC)
    put_points(processor, account_id, "pump-1", "level", [now - 100 * DAY, now], now=now)
    put_rules(processor, account_id, ALL, now=now - 2 * DAY)
    processor_schedule.keep_rules(processor_worker)
    assert carry_out(processor_worker) > 0
    assert times_of(processor, account_id) == [now]
    with log_transaction(processor) as tx:
        assert set(tx.session.scalars(select(LogDeletion.status))) == {"done"}


def test_what_is_erased_stays_so_when_the_rule_grows_longer(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    put_points(processor, account_id, "pump-1", "level", [NOW - 100 * DAY, NOW])
    put_rules(processor, account_id, ALL)
    enforce(processor_worker, account_id)
    put_rules(processor, account_id, RuleIn(None, None, "P10Y"))
    assert times_of(processor, account_id) == [NOW]


def test_an_erasure_by_retention_stands_in_the_log(processor: ProcessorServices, processor_worker: ProcessorServices,
                                                   account_id: UUID) -> None:  # fmt: skip
    put_points(processor, account_id, "pump-1", "level", [NOW - 100 * DAY])
    put_rules(processor, account_id, ALL)
    [order] = enforce(processor_worker, account_id)
    with log_transaction(processor) as tx:
        query = select(LogEvent.action).where(LogEvent.subject_id == order.deletion_id).order_by(LogEvent.event_id)
        assert "retention.enforce" in tx.session.scalars(query).all()
        told = select(LogEvent.actor_kind).where(LogEvent.action == "retention.set")
        assert tx.session.scalars(told).all() == ["operator"]


@pytest.mark.parametrize(
    ("rules", "pointer"),
    [
        ([RuleIn(None, None, "P9D")], "/rules/0/period"),
        ([ALL, RuleIn("pump-9", None, "P30D")], "/rules/1/device"),
        ([RuleIn("pump-1", "depth", "P30D")], "/rules/0/tag"),
        ([RuleIn(None, "level", "P30D")], "/rules/0/device"),
        ([ALL, RuleIn(None, None, "P31D")], "/rules/1"),
    ],
)
def test_a_rule_that_is_none_is_refused_and_the_former_stay(processor: ProcessorServices, account_id: UUID,
                                                            rules: list[RuleIn], pointer: str) -> None:  # fmt: skip
    put_points(processor, account_id, "pump-1", "level", [NOW])
    before = put_rules(processor, account_id, RuleIn("pump-1", "level", "P2Y"))
    with pytest.raises(InvalidError) as refused:
        put_rules(processor, account_id, *rules)
    assert [fault.pointer for fault in refused.value.errors] == [pointer]
    with log_transaction(processor) as tx:
        after = retention.read_rules(tx, account_id)
    assert (after.version, [row.period for row in after.rows]) == (before.version, ["P2Y"])


def test_rules_are_replaced_as_a_whole_by_who_knows_them(processor: ProcessorServices, account_id: UUID) -> None:
    first = put_rules(processor, account_id, ALL)
    assert first.version != 0
    with pytest.raises(StaleError), log_transaction(processor) as tx:
        retention.set_rules(tx, account_id, [], version=0)
    second = put_rules(processor, account_id, RuleIn(None, None, "P60D"))
    assert (second.version != first.version, [row.period for row in second.rows]) == (True, ["P60D"])
    assert put_rules(processor, account_id).version == 0


def count(processor: ProcessorServices, account_id: UUID, rules: retention.Rules, **services: Any) -> int:
    with log_transaction(processor) as tx:
        return retention.count_due(tx, replace(processor, **services).objects, account_id, rules)


def test_what_rules_would_erase_is_told_to_the_point(processor: ProcessorServices, account_id: UUID) -> None:
    put_points(processor, account_id, "pump-1", "level", [NOW - 100 * DAY] * 5)
    put_points(processor, account_id, "pump-1", "flow", [NOW - 100 * DAY, NOW - 50 * DAY, NOW])
    put_points(processor, account_id, "pump-2", "level", [NOW - 100 * DAY])
    narrow = [RuleIn("pump-1", "level", "P1Y"), RuleIn("pump-2", None, "P90D")]
    assert count(processor, account_id, put_rules(processor, account_id, ALL)) == 8
    assert count(processor, account_id, put_rules(processor, account_id, ALL, *narrow)) == 3
    assert count(processor, account_id, put_rules(processor, account_id, *narrow)) == 1
    assert count(processor, account_id, put_rules(processor, account_id)) == 0


def test_what_is_being_deleted_is_not_erased_twice(processor: ProcessorServices, account_id: UUID) -> None:
    device_id = put_points(processor, account_id, "pump-1", "level", [NOW - 100 * DAY, NOW - 80 * DAY])
    rules = put_rules(processor, account_id, ALL)
    with log_transaction(processor) as tx:
        account = accounts.lock_account(tx, account_id)
        before = NOW - 90 * DAY
        same: dict[str, Any] = {"tag_id": None, "since": None, "trigger": "customer"}
        deletions.order(tx, account, device_id=device_id, before=before, **same)
    assert count(processor, account_id, rules) == 1


def test_an_account_without_log_data_has_no_rules(processor: ProcessorServices) -> None:
    with pytest.raises(NotFoundError), log_transaction(processor) as tx:
        retention.read_rules(tx, UUID(int=1))


def test_tags_of_one_period_are_deleted_by_one_order(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    tags = ("level", "speed", "depth", "heat")
    for tag in tags:
        put_points(processor, account_id, "pump-1", tag, [NOW - 40 * DAY, NOW - 15 * DAY, NOW])
    put_rules(processor, account_id, RuleIn("pump-1", None, "P10D"), RuleIn("pump-1", "level", "P30D"))
    orders = enforce(processor_worker, account_id)
    assert sorted(len(order.tags or ()) for order in orders) == [0, 3]
    assert times_of(processor, account_id) == [NOW - 15 * DAY, *[NOW] * len(tags)]
