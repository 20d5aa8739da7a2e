"""The purge of an account with log data, by real processes of both planes, one of which is killed in the middle."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import urllib3
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.database import SCHEMAS
from cloudpriv.platform.ids import new_id
from cloudpriv.serving import await_answer
from tests.factories import make_account
from tests.logdata import device_token, issuer, reader_token
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.purges import LONG_AGO, await_a_round, is_blocked, let_it_age, order, purge_of
from tests.stack import TestDatabase

POINTS = "/v1/logdata/points"


@dataclass(frozen=True)
class Planes:
    """Processes of both planes on one database, with all that they say in a folder."""

    url: str
    environments: dict[str, dict[str, str]]
    folder: Path

    @contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A process, killed at the end if it is still there."""
        command, plane = [sys.executable, "-m", "cloudpriv.cli", *words], words[words.index("--plane") + 1]
        with (self.folder / f"{words[0]}.log").open("ab") as output:
            started = subprocess.Popen(command, env=self.environments[plane], stdout=output, stderr=output)
        try:
            yield started
        finally:
            started.kill()
            started.wait(PATIENCE)

    def send(self, path: str, token: str, body: object = None) -> Any:
        """A POST to the log data's API, or a GET without a body."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        return urllib3.request("GET" if body is None else "POST", self.url + path, body=sent, headers=headers, retries=False)


@pytest.fixture
def planes(database: TestDatabase, owner_engine: Engine, tmp_path: Path) -> Iterator[Planes]:
    """The API of log data, serving, and the controller plane's schedule.

    That has done its duties of the day: it would plan the erasure of old accounts by itself, and have it wait for approval.
    """
    bind = f"127.0.0.1:{free_port()}"
    found = Planes(f"http://{bind}", {plane: database.environment(plane) for plane in SCHEMAS}, tmp_path)
    with ExitStack() as cleanup:
        cleanup.enter_context(found.running("schedule", "--plane", "controller"))
        api = cleanup.enter_context(found.running("serve", "--plane", "processor", "--bind", bind))
        assert await_answer(bind, api), (tmp_path / "serve.log").read_text()
        await_a_round(owner_engine)
        yield found


def points(number: int) -> list[dict[str, object]]:
    """So many points."""
    return [{"tag": f"t{each % 7}", "time": "2018-08-01T00:00:00Z", "value": each + 0.5} for each in range(number)]


def await_that(condition: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def rows_of(processor_owner: Engine, account_id: UUID, table: str) -> int:
    with processor_owner.connect() as connection:
        query = text(f"SELECT count(*) FROM {table} WHERE account_id = :id")  # noqa: S608  our own table
        return int(connection.execute(query, {"id": account_id}).scalar_one())


def objects_of(processor: ProcessorServices, account_id: UUID) -> list[str]:
    return [key for key in processor.objects.keys("") if str(account_id) in key]


def let_log_data_age(processor_owner: Engine, owner: Engine, account_id: UUID) -> None:
    """Put the last point where it would have been, before the schedule of log data tells of it."""
    with processor_owner.begin() as connection:
        connection.execute(text("UPDATE log_accounts SET last_point_at = :at, told_at = :at"), {"at": LONG_AGO})
    let_it_age(owner, account_id)


def lived(planes: Planes, processor: ProcessorServices, account_id: UUID) -> tuple[str, str]:
    """An account that has points, tokens and an archive; the tokens of its device and its reader."""
    device, reader = device_token(processor, account_id), reader_token(processor, account_id)
    for _ in range(3):
        assert planes.send(POINTS, device, points(100)).json() == {"accepted": 100, "rejected": []}
    with planes.running("worker", "--plane", "processor"):
        path = f"/v1/logdata/exports/{planes.send('/v1/logdata/exports', reader, {'format': 'csv'}).json()['id']}"
        await_that(lambda: planes.send(path, reader).json()["status"] == "ready", "the archive was not made")
    return device, reader


@pytest.mark.timeout(600)  # where other work leaves it little of the machine
def test_an_account_goes_with_its_log_data_though_a_worker_of_the_other_plane_is_killed(
    services: Services, processor: ProcessorServices, owner_engine: Engine, processor_owner: Engine, planes: Planes,
    database: TestDatabase,
) -> None:  # fmt: skip
    account_id, other = (make_account(services, created_at=LONG_AGO).row.account_id for _ in range(2))
    device, reader = lived(planes, processor, account_id)
    others_device = device_token(processor, other)
    planes.send(POINTS, others_device, points(10))
    session = issuer(database.stack, processor).issue_session(
        "talk2m", account_id, new_id(), "owner", processor.clock(), session_id=new_id()
    )
    stored = len(objects_of(processor, account_id))
    let_log_data_age(processor_owner, owner_engine, account_id)
    purge_id = order(services, owner_engine, account_id, services.clock())
    assert purge_of(services, purge_id).status == "planned"

    with ExitStack() as workers, processor_owner.connect() as somebody:
        workers.enter_context(planes.running("schedule", "--plane", "processor"))
        # Somebody has one of its rows locked when the worker comes to it, which is killed there.
        somebody.execute(text("SET idle_in_transaction_session_timeout = 0"))
        somebody.execute(text("SELECT FROM log_devices WHERE account_id = :id FOR UPDATE"), {"id": account_id})
        workers.enter_context(planes.running("worker", "--plane", "controller"))
        with planes.running("worker", "--plane", "processor"):
            await_that(lambda: is_blocked(processor_owner), "no worker came to the rows")
            assert rows_of(processor_owner, account_id, "log_keys") == 0, "the key went first"
            assert purge_of(services, purge_id).status == "running"
        somebody.rollback()
        assert [planes.send(POINTS, device, points(1)).status, planes.send("/v1/logdata/devices", reader).status] == [
            404,
            404,
        ]
        workers.enter_context(planes.running("worker", "--plane", "processor"))
        await_that(lambda: purge_of(services, purge_id).status == "done", "the purge did not end")

    counts = purge_of(services, purge_id).counts
    assert (counts["log_points"], counts["log_devices"], counts["log_tokens"]) == (300, 1, 2)
    assert counts["log_objects"] == stored == 4, "three chunks and an archive"
    assert objects_of(processor, account_id) == []
    assert [planes.send(POINTS, device, points(1)).status, planes.send("/v1/logdata/devices", reader).status] == [401, 401]
    made = planes.send("/v1/logdata/tokens", session, {"kind": "reader", "name": "again"})
    assert made.status == 410, "nobody opens it again"
    assert planes.send(POINTS, others_device, points(1)).json()["accepted"] == 1
    assert len(objects_of(processor, other)) == 2


@pytest.mark.timeout(600)
def test_an_account_that_only_log_data_keeps_alive_is_never_erased_early(
    services: Services, processor: ProcessorServices, owner_engine: Engine, processor_owner: Engine, planes: Planes
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    device = device_token(processor, account_id)
    purge_id = order(services, owner_engine, account_id, services.clock())
    assert planes.send(POINTS, device, points(1)).status == 200
    with planes.running("schedule", "--plane", "processor"), planes.running("worker", "--plane", "controller"):
        await_that(lambda: purge_of(services, purge_id).status != "planned", "no worker came")
        await_that(lambda: purge_of(services, purge_id).status == "cancelled", "it was erased early")
    with owner_engine.connect() as connection:
        query = text("SELECT last_traffic_at FROM accounts WHERE account_id = :id")
        assert connection.execute(query, {"id": account_id}).scalar_one() > LONG_AGO
    assert planes.send(POINTS, device, points(1)).status == 200, "and it goes on as before"
