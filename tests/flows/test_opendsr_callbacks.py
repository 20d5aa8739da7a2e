"""OpenDSR with real processes: the API, a worker, and the customer's server, told of each change until it takes it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import urllib3
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform import jobs
from cloudpriv.serving import await_answer
from tests.dsr import REQUESTS, Controller, check_signature, controlling, identity, point, request_of
from tests.logdata import device_token, make_log_account, reader_token
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.purges import is_blocked
from tests.rawsearch import holding
from tests.stack import TestDatabase

KIM = "kim.canary@customer.example"


@dataclass(frozen=True)
class Processes:
    """The environment of the plane's processes, and the folder that all their output goes to."""

    url: str
    environment: dict[str, str]
    folder: Path

    @contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A process of the plane, told to stop at the end."""
        command = [sys.executable, "-m", "cloudpriv.cli", *words, "--plane", "processor"]
        output = (self.folder / f"{words[0]}.log").open("ab")
        with output as out, subprocess.Popen(command, env=self.environment, stdout=out, stderr=out) as started:
            try:
                yield started
            finally:
                started.terminate()


@pytest.fixture
def processes(database: TestDatabase, tmp_path: Path) -> Iterator[Processes]:
    """The plane's API, serving; callbacks may reach the loopback."""
    bind = f"127.0.0.1:{free_port()}"
    named = {"URL": f"http://{bind}", "OPENDSR_CALLBACK_NETWORKS": "127.0.0.0/8", "LOG_LEVEL": "DEBUG"}
    environment = database.environment("processor") | {f"CLOUDPRIV_PROCESSOR_{name}": value for name, value in named.items()}
    found = Processes(f"http://{bind}", environment, tmp_path)
    with found.running("serve", "--bind", bind) as server:
        assert await_answer(bind, server), (tmp_path / "serve.log").read_text()
        yield found


@pytest.fixture
def controller() -> Iterator[Controller]:
    """The customer's server, listening."""
    with controlling() as found:
        yield found


@dataclass(frozen=True)
class Customer:
    """A customer with a device that appends and a program that hands requests on."""

    url: str
    account_id: UUID
    device: str
    reader: str

    def send(self, token: str, method: str, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        """One request with a token."""
        return urllib3.request(method, f"{self.url}{path}", json=body, headers={"Authorization": f"Bearer {token}"})

    def hand_on(self, body: dict[str, Any]) -> None:
        """Hand a request on."""
        answer = self.send(self.reader, "POST", REQUESTS, body)
        assert answer.status == 201, answer.data


@pytest.fixture
def customer(processor: ProcessorServices, processes: Processes) -> Customer:
    """A customer whose log data holds something about Kim."""
    account_id, now = make_log_account(processor), processor.clock()
    device, reader = device_token(processor, account_id, now=now), reader_token(processor, account_id, now=now)
    found = Customer(processes.url, account_id, device, reader)
    points = [point(KIM, "operator", 1), point("alex", "operator", 2), point(f"stopped by {KIM}", "alarm", 3)]
    answer = found.send(device, "POST", "/v1/logdata/points", points)
    assert answer.json() == {"accepted": 3, "rejected": []}, (processes.folder / "serve.log").read_text()
    return found


def wait_until(condition: Callable[[], object], *alive: "subprocess.Popen[bytes]") -> None:
    """Wait for what processes do."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert all(each.poll() is None for each in alive), "a process ended"
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def hurry(owner: Engine, processor: ProcessorServices) -> None:
    """Have workers do now what they would do in a while, once they have put it off."""
    wait_until(lambda: not _held(owner))
    with owner.begin() as connection:
        connection.execute(text("UPDATE log_callbacks SET next_at = now() - interval '1 minute'"))
        query = "UPDATE log_tasks SET lease_until = now() - interval '1 minute' RETURNING task_id"
        waiting = list(connection.execute(text(query)).scalars())
    for task_id in waiting:
        jobs.Waker(processor.redis, jobs.PROCESSOR_QUEUE)("task", task_id)


def test_a_callback_is_told_until_it_is_taken(
    processes: Processes, customer: Customer, controller: Controller, processor: ProcessorServices, processor_owner: Engine
) -> None:
    controller.answers = [503, 500]
    body = request_of("access", identity(KIM), status_callback_urls=[controller.url])
    with processes.running("worker") as worker:
        customer.hand_on(body)
        for attempts in (1, 2):
            wait_until(lambda: _attempts(processor_owner) == [attempts, 0], worker)  # noqa: B023  called in this turn
            assert controller.statuses == ["in_progress"] * attempts
            hurry(processor_owner, processor)
        wait_until(lambda: len(controller.told) == 4, worker)
        wait_until(lambda: _attempts(processor_owner) == [3, 1], worker)
    assert controller.statuses == ["in_progress", "in_progress", "in_progress", "completed"]
    _check_signed_as_discovered(processes, controller)
    results = customer.send(customer.reader, "GET", _path_of(json.loads(controller.told[-1][1]), processes))
    assert [json.loads(line)["value"] for line in results.data.splitlines()] == [KIM, f"stopped by {KIM}"]
    assert json.loads(controller.told[-1][1])["results_count"] == 2
    assert holding([processes.folder], [KIM.encode(), b"/callbacks", customer.reader.encode()]) == {}


def test_a_request_whose_worker_was_killed_goes_on_by_itself(
    processes: Processes, customer: Customer, controller: Controller, processor: ProcessorServices, processor_owner: Engine
) -> None:
    body = request_of("erasure", identity(KIM), status_callback_urls=[controller.url])
    with processes.running("worker") as first, processor_owner.begin() as somebody:
        somebody.execute(text("LOCK TABLE log_deletions IN ACCESS EXCLUSIVE MODE"))
        customer.hand_on(body)
        wait_until(lambda: is_blocked(processor_owner), first)
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE)
    path = f"{REQUESTS}/{body['subject_request_id']}"
    assert customer.send(customer.reader, "GET", path).json()["request_status"] == "in_progress"
    with processor_owner.begin() as connection:
        connection.execute(text("UPDATE log_tasks SET lease_until = now() - interval '1 minute'"))
    with processes.running("worker") as worker, processes.running("schedule") as schedule:
        wait_until(lambda: "completed" in controller.statuses, worker, schedule)
    told = customer.send(customer.reader, "GET", path).json()
    assert (told["request_status"], told["results_count"]) == ("completed", 2)
    left = customer.send(customer.reader, "GET", "/v1/logdata/points?device=pump-1").json()
    assert [item["value"] for item in left["items"]] == ["alex"]


def _attempts(owner: Engine) -> list[int]:
    """How often each callback was tried, in order of the changes that they tell."""
    with owner.connect() as connection:
        return list(connection.execute(text("SELECT attempts FROM log_callbacks ORDER BY callback_id")).scalars())


def _held(owner: Engine) -> int:
    """How many tasks a worker is at."""
    with owner.connect() as connection:
        query = text("SELECT count(*) FROM log_tasks WHERE lease_owner IS NOT NULL")
        return int(connection.execute(query).scalar_one())


def _check_signed_as_discovered(processes: Processes, controller: Controller) -> None:
    """Do as OpenDSR has controllers do (8.8), with the certificate that discovery names."""
    discovery = urllib3.request("GET", f"{processes.url}/opendsr/v2/discovery").json()
    chain = urllib3.request("GET", discovery["processor_certificate"]).data
    for headers, body in controller.told:
        assert headers["X-OpenDSR-Processor-Domain"] == "127.0.0.1"
        check_signature(chain, headers["X-OpenDSR-Signature"], body)
        assert json.loads(body)["status_callback_url"] == controller.url


def _path_of(told: dict[str, Any], processes: Processes) -> str:
    url: str = told["results_url"]
    assert url.startswith(processes.url)
    return url.removeprefix(processes.url)
