"""Jobs: nobody waits for one who could see what stops it, so it is told in a line, and counted."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from cloudpriv.bootstrap import Services
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention import figures
from cloudpriv.retention.lease import LEASE
from tests.factories import NOW, make_account, transaction
from tests.purges import close, purge_of
from workers import jobs


@pytest.fixture
def worker(worker_services: Services) -> Iterator[Services]:
    """What jobs work with."""
    former = jobs.SERVICES.set(worker_services)
    yield worker_services
    jobs.SERVICES.reset(former)


def errors_of_job(worker: Services, ledger: ObjectStore, number: int, purge_id: object) -> list[dict[str, object]]:
    """Carry the purge on when `number` leases have run out, with this bucket; the lines that tell of errors."""
    moment = NOW + number * LEASE
    jobs.SERVICES.set(replace(worker, ledger=ledger, clock=lambda: moment))
    with capture_logs() as told:
        jobs.run_purge(str(purge_id))
    return [dict(line) for line in told if line["log_level"] == "error"]


def test_a_purge_without_its_ledger_is_told_and_counted_each_time(services: Services, worker: Services) -> None:
    purge_id = close(services, make_account(services).row.account_id)
    line = {"event": "job_failed", "job": "purge", "subject": str(purge_id), "fault": "NotFoundError", "log_level": "error"}
    for number in range(3):
        assert errors_of_job(worker, worker.ledger.of_bucket("not-there"), number, purge_id) == [line]
    with transaction(services) as tx:
        assert figures.read(tx, services.policy).retried == 1
    assert errors_of_job(worker, worker.ledger, 3, purge_id) == []
    assert purge_of(services, purge_id).status == "done"
