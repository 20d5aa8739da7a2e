"""Clocks of the processor plane: what it keeps for its own working goes when the policy says, and not before."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, insert, select

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.metadata import PROCESSOR
from cloudpriv.platform import accesslog
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.register import load
from cloudpriv.processor import devices
from cloudpriv.processor.accounts import find_account
from cloudpriv.processor.order_tables import LogCallback, LogExport, LogRequest
from cloudpriv.processor.tables import LogBatch, LogEvent, LogGarbage, LogTransaction
from cloudpriv.processor.upkeep import clocks
from tests.factories import NOW
from tests.logdata import log_transaction, make_log_account

INSTANT = timedelta.resolution
MONTH_OVER = datetime(2026, 7, 2, tzinfo=UTC)  # 30 days after NOW, 1 June


@pytest.fixture
def account_id(processor: ProcessorServices) -> UUID:
    """An account with log data."""
    return make_log_account(processor)


def put(processor: ProcessorServices, model: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    with log_transaction(processor) as tx:
        tx.session.execute(insert(model), list(rows))


def count(processor: ProcessorServices, table: str) -> int:
    with log_transaction(processor) as tx:
        return int(tx.session.execute(select(func.count()).select_from(PROCESSOR.tables[table])).scalar_one())


def erase(worker: ProcessorServices, now: datetime, folder: Path | None = None) -> Mapping[str, int]:
    """Erase what is over at a time: how much, by rule, of those of which there was something."""
    found = clocks.erase(worker.plane, worker.policy, lambda: now, folder)
    return {key: number for key, number in found.items() if number}


def test_every_rule_of_the_plane_has_a_clock_and_every_clock_a_rule() -> None:
    rules = [each.key for each in load().housekeeping if each.plane == "processor"]
    assert sorted(rules) == sorted(clocks.CLOCKS)


def test_keys_of_batches_go_after_thirty_days(processor: ProcessorServices, processor_worker: ProcessorServices,
                                              account_id: UUID) -> None:  # fmt: skip
    with log_transaction(processor) as tx:
        device_id = devices.ensure_device(tx, find_account(tx, account_id), "pump-1")
    same = {"account_id": account_id, "device_id": device_id, "body_index": b"", "verdict": {}}
    times = [NOW] * (2 * clocks.BATCH + 1) + [NOW + timedelta(days=1)]
    rows = [{**same, "key_index": number.to_bytes(4), "received_at": at} for number, at in enumerate(times)]
    put(processor, LogBatch, rows)
    assert erase(processor_worker, MONTH_OVER - INSTANT) == {}
    assert erase(processor_worker, MONTH_OVER) == {"log_batches": 2 * clocks.BATCH + 1}
    assert count(processor, "log_batches") == 1


def test_transactions_that_nobody_used_for_thirty_days_go_but_for_the_latest(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    same = {"account_id": account_id, "rest": 0, "positions": {}, "created_at": NOW}
    put(processor, LogTransaction, [{**same, "transaction_id": number} for number in (1, 2, 3)])
    assert erase(processor_worker, MONTH_OVER - INSTANT) == {}
    assert erase(processor_worker, MONTH_OVER) == {"log_transactions": 2}
    with log_transaction(processor) as tx:
        assert tx.session.scalars(select(LogTransaction.transaction_id)).all() == [3]


def an_export(account_id: UUID, status: str, ready_at: datetime | None) -> dict[str, Any]:
    export_id = new_id()
    return {
        "account_id": account_id,
        "export_id": export_id,
        "format": "csv",
        "selection": {},
        "status": status,
        "object_key": f"exports/{account_id}/{export_id}",
        "requested_by": "reader:1",
        "requested_at": NOW,
        "ready_at": ready_at,
        "expires_at": ready_at,
    }


def test_an_archive_goes_after_a_week_its_object_with_it(processor: ProcessorServices, processor_worker: ProcessorServices,
                                                         account_id: UUID) -> None:  # fmt: skip
    ready, young = an_export(account_id, "ready", NOW), an_export(account_id, "ready", NOW + timedelta(days=1))
    put(processor_worker, LogExport, [ready, young, an_export(account_id, "pending", None)])
    over = datetime(2026, 6, 9, tzinfo=UTC)
    assert erase(processor_worker, over - INSTANT) == {}
    assert erase(processor_worker, over) == {"log_exports": 1}
    with log_transaction(processor_worker) as tx:
        assert tx.session.scalars(select(LogExport.status).order_by(LogExport.status)).all() == [
            "expired",
            "pending",
            "ready",
        ]
        assert tx.session.scalars(select(LogGarbage.object_key)).all() == [ready["object_key"]]
        told = select(LogEvent.subject_id).where(LogEvent.action == "export.erase")
        assert tx.session.scalars(told).all() == [ready["export_id"]]


def test_an_answered_request_goes_after_three_years_with_what_was_to_be_told_of_it(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    same = {"account_id": account_id, "type": "access", "body": b"", "received_at": NOW, "expected_at": NOW}
    ended, open_ = new_id(), new_id()
    put(processor, LogRequest, [{**same, "request_id": ended, "status": "completed", "ended_at": NOW}])
    put(processor, LogRequest, [{**same, "request_id": open_, "status": "pending"}])
    of = {"account_id": account_id, "body": b"", "attempts": 1, "created_at": NOW, "next_at": NOW, "status": "taken"}
    put(processor, LogCallback, [{**of, "callback_id": new_id(), "request_id": each} for each in (ended, ended, open_)])
    over = datetime(2029, 6, 2, tzinfo=UTC)
    assert "log_requests" not in erase(processor_worker, over - INSTANT)
    assert erase(processor_worker, over) == {}, "it is that late by the host's clock alone"
    with log_transaction(processor_worker, WORKER, over) as tx:
        assert clocks.CLOCKS["log_requests"](tx, load().rule_for("log_requests").anchor_cutoff(over)) == 1
    with log_transaction(processor) as tx:
        assert tx.session.scalars(select(LogRequest.request_id)).all() == [open_]
        assert tx.session.scalars(select(LogCallback.request_id)).all() == [open_]


def test_a_host_clock_that_is_ahead_erases_nothing(processor: ProcessorServices, processor_worker: ProcessorServices,
                                                   account_id: UUID) -> None:  # fmt: skip
    same = {"account_id": account_id, "rest": 0, "positions": {}, "created_at": datetime.now(UTC)}
    put(processor, LogTransaction, [{**same, "transaction_id": number} for number in (1, 2)])
    assert erase(processor_worker, datetime.now(UTC) + timedelta(days=3650)) == {}


def test_the_access_log_of_this_host_goes_after_six_months(processor_worker: ProcessorServices, tmp_path: Path) -> None:
    written = datetime(2026, 1, 1, tzinfo=UTC)
    accesslog.append(tmp_path, written, "line")
    over = processor_worker.policy.rule_for("web_server_logs").erasable_from(written)
    assert erase(processor_worker, over - INSTANT, tmp_path) == {}
    assert erase(processor_worker, over, tmp_path) == {"web_server_logs": 1}
    assert list(tmp_path.iterdir()) == []
