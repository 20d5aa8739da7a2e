"""A program that was written for Talk2M reads log data here: `pydatamailbox`, unchanged but for where it asks."""

import csv
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
import redis
import urllib3
from pydatamailbox import DataMailbox, DataMailboxStatusError
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.storage import compaction
from cloudpriv.serving import await_answer
from tests.logdata import carry_out, device_token, make_log_account, reader_token
from tests.ports import free_port
from tests.rawsearch import holding
from tests.stack import TestDatabase

NAB = Path(__file__).parents[2].parent / "shared" / "data" / "nab"
SERIES = {"machine": "machine_temperature_system_failure.csv", "office": "ambient_temperature_system_failure.csv"}
BATCH = 500
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
Told = tuple[str, str, float]
"""Device, date and value."""


@dataclass(frozen=True)
class LogDataApi:
    """A running API of the processor plane: its address, and the file that all its output goes to."""

    url: str
    output: Path


@contextmanager
def serving(database: TestDatabase, folder: Path) -> Iterator[LogDataApi]:
    """The processor plane's API in a process of its own, which writes all logs that it can."""
    bind = f"127.0.0.1:{free_port()}"
    words = [sys.executable, "-m", "cloudpriv.cli", "serve", "--plane", "processor", "--bind", bind]
    (folder / "access").mkdir()
    named = {"LOG_LEVEL": "DEBUG", "ACCESS_LOG_DIR": str(folder / "access"), "RATE_LIMIT": "1000000/minute"}
    environment = database.environment("processor") | {f"CLOUDPRIV_PROCESSOR_{name}": value for name, value in named.items()}
    output = folder / "output"
    with output.open("wb") as out, subprocess.Popen(words, env=environment, stdout=out, stderr=out) as server:
        assert await_answer(bind, server), output.read_text()
        try:
            yield LogDataApi(f"http://{bind}", output)
        finally:
            server.terminate()


@pytest.fixture
def api(database: TestDatabase, tmp_path: Path) -> Iterator[LogDataApi]:
    """The processor plane's API in a process of its own."""
    with serving(database, tmp_path) as found:
        yield found


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account of the processor plane."""
    return make_log_account(processor, processor.clock())


@pytest.fixture
def token(processor: ProcessorServices, log_account: UUID) -> str:
    """A reader token."""
    return reader_token(processor, log_account, processor.clock())


@pytest.fixture
def client(api: LogDataApi, token: str) -> Iterator[DataMailbox]:
    """The program's client."""
    made = DataMailbox("an-account", "a-developer", token=token)
    made.base_url = f"{api.url}/dmweb/"
    yield made
    made.session.close()


def series(name: str) -> list[tuple[str, float]]:
    """Date and value of each point, in the order of the file."""
    with (NAB / SERIES[name]).open() as lines:
        return [(row["timestamp"].replace(" ", "T") + "Z", float(row["value"])) for row in csv.DictReader(lines)]


class Device:
    """A device that sends its series in batches."""

    def __init__(self, api: LogDataApi, name: str, token: str) -> None:
        self.api, self.name, self.token = api, name, token
        points = series(name)
        self.waiting = [points[first : first + BATCH] for first in range(0, len(points), BATCH)]

    def send(self, batches: int) -> list[Told]:
        """Send so many batches more; what they hold."""
        now, self.waiting = self.waiting[:batches], self.waiting[batches:]
        for batch in now:
            points = [{"tag": "temperature", "time": date, "value": value, "unit": "°F"} for date, value in batch]
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            answer = urllib3.request("POST", f"{self.api.url}/v1/logdata/points", body=json.dumps(points), headers=headers)
            assert answer.status == 200, answer.data
            assert answer.json() == {"accepted": len(batch), "rejected": []}
        return [(self.name, date, value) for batch in now for date, value in batch]


def told(answer: dict[str, Any]) -> list[Told]:
    """Every point of an answer."""
    return [
        (device["name"], point["date"], point["value"])
        for device in answer["ewons"]
        for tag in device["tags"]
        for point in tag["history"]
    ]


def compact(worker: ProcessorServices, account_id: UUID) -> None:
    """Rewrite what is due of every device's chunks."""
    with worker.plane.engine.connect() as connection:
        found = connection.execute(text("SELECT device_id FROM log_devices WHERE account_id = :id"), {"id": account_id})
        device_ids = found.scalars().all()
    for device_id in device_ids:
        compaction.carry_out(worker.plane, worker.objects, worker.clock, account_id, device_id)


@pytest.mark.skipif(not NAB.is_dir(), reason="the data sets are not here")
def test_a_program_written_for_talk2m_reads_every_point_once(
    api: LogDataApi,
    client: DataMailbox,
    processor: ProcessorServices,
    processor_worker: ProcessorServices,
    log_account: UUID,
) -> None:
    devices = [Device(api, name, device_token(processor, log_account, name, processor.clock())) for name in SERIES]
    expected = Counter(point for device in devices for point in device.send(8))

    def append() -> None:
        while any(device.waiting for device in devices):
            for device in devices:
                expected.update(device.send(3))
            compact(processor_worker, log_account)

    sending = threading.Thread(target=append)
    sending.start()
    found: Counter[Told] = Counter()
    last, transactions, over = None, set(), False
    while not over:
        over = not sending.is_alive()
        for answer in client.iterate_syncdata(last):
            assert answer["success"] is True
            found.update(told(answer))
            last = answer["transactionId"]
            transactions.add(last)
    sending.join()
    assert len(transactions) > 5
    assert found == expected, "every point once"
    assert sum(found.values()) == sum(len(series(name)) for name in SERIES) == 29_962
    _check_what_is_kept(client)
    _check_deletion(client, processor_worker)


def _check_what_is_kept(client: DataMailbox) -> None:
    """The other services, against the series."""
    status = client.getstatus()
    points = {name: series(name) for name in SERIES}
    assert (status["historyCount"], status["ewonsCount"]) == (29_962, 2)
    for device in status["ewons"]:
        dates = sorted(date for date, _ in points[device["name"]])
        assert (device["historyCount"], device["firstHistoryDate"], device["lastHistoryDate"]) == (
            len(dates),
            dates[0],
            dates[-1],
        )
    assert {device["name"] for device in client.getewons()["ewons"]} == set(SERIES)
    for device in status["ewons"]:
        state = client.getewon(ewonid=device["id"])
        assert state == client.getewon(name=device["name"])
        (tag,) = state["tags"]
        assert (tag["name"], tag["dataType"], tag["quality"]) == ("temperature", "Float", "good")
        date, value = points[device["name"]][-1]
        assert tag["value"] == value
        first, until = points[device["name"]][100][0], points[device["name"]][4099][0]
        answer = client.getdata(device["id"], tag["id"], first, until)
        assert told(answer) == [(device["name"], *point) for point in points[device["name"]] if first <= point[0] <= until]
        assert answer["moreDataAvailable"] is False
        assert client.getdata(device["id"], tag["id"], first, date, limit=10)["moreDataAvailable"] is True
        assert told(client.getdata(device["id"], tag["id"], date, date)) == [(device["name"], date, value)]


def _check_deletion(client: DataMailbox, worker: ProcessorServices) -> None:
    """Everything goes at once from every answer, and then from the store."""
    last = client.syncdata()["transactionId"]
    deleted = client.session.post(f"{client.base_url}delete", data={**client.data, "all": "true"}, timeout=60)
    assert (deleted.status_code, deleted.json()) == (200, {"success": True})
    for _ in range(2):
        assert client.getstatus()["historyCount"] == 0
        assert client.syncdata()["ewons"] == client.syncdata(last)["ewons"] == []
        assert ["value" in tag for name in SERIES for tag in client.getewon(name=name)["tags"]] == [False, False]
        carry_out(worker)
    with pytest.raises(DataMailboxStatusError, match="400"):
        client.syncdata(12345)


def test_a_token_that_came_in_a_query_or_a_form_is_in_no_log_and_on_no_disk(
    api: LogDataApi,
    processor: ProcessorServices,
    log_account: UUID,
    token: str,
    database: TestDatabase,
    processor_owner: Engine,
    tmp_path: Path,
) -> None:
    sensor = device_token(processor, log_account, "sensor", processor.clock())
    wrong = "cpr_" + "w" * 22 + "_" + "z" * 43
    with_query = _everything(api, [token, sensor, wrong])
    assert {200, 400, 401, 403, 404, 414} <= with_query, with_query
    with processor_owner.begin() as connection:
        connection.execute(text("ALTER TABLE log_devices RENAME TO log_devices_gone"))
    assert 500 in _everything(api, [token])
    output = api.output.read_bytes()
    assert output.count(b'"event":"request"') > 20, "requests are logged"
    assert b'"event":"unexpected"' in output, "faults are logged"
    written = b"".join(file.read_bytes() for file in (tmp_path / "access").iterdir())
    assert written.count(b'"GET /dmweb/getstatus HTTP/1.1"') > 5, "the access log is written"
    secrets = [part.encode() for each in (token, sensor, wrong) for part in (each, each[-43:], each[-20:])]
    assert holding([tmp_path, database.stack.folder], secrets) == {}
    with redis.Redis.from_url(database.stack.environment["CLOUDPRIV_PROCESSOR_REDIS_URL"]) as queue:
        kept = b"\n".join(key + (queue.dump(key) or b"") for key in queue.scan_iter())
    assert [secret for secret in secrets if secret in kept] == []


def _everything(api: LogDataApi, tokens: list[str]) -> set[int]:
    """Send tokens in every way and to every end; the statuses that came of it."""
    statuses, http = set(), urllib3.PoolManager(retries=False)
    for token in tokens:
        for named in ({"t2mtoken": token}, {"t2maccount": "a", "t2musername": "b", "t2mpassword": token}):
            for service in ("getstatus", "getewons", "getewon?id=9", "getdata?limit=x", "syncdata", "no-such-service"):
                path, _, rest = service.partition("?")
                sent = "&".join(part for part in (rest, urlencode(named)) if part)
                url = f"{api.url}/dmweb/{path}"
                statuses |= {
                    http.request("GET", f"{url}?{sent}").status,
                    http.request("PUT", f"{url}?{sent}").status,
                    http.request("POST", url, body=sent, headers=FORM).status,
                    http.request("GET", f"{url}?{sent}&filler={'x' * 9000}").status,
                    http.request("GET", f"{url}?{sent}", headers={"Referer": f"{url}?{sent}", "Bad Name": token}).status,
                }
    http.clear()
    return statuses
