"""/opendsr/v2: what is found of a data subject, what is erased of them, and nothing else."""

import hashlib
import json
from datetime import datetime
from itertools import count
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import delete

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts, devices, tasks
from cloudpriv.processor.orders import exports
from cloudpriv.processor.tables import LogTask
from cloudpriv.processor.tasks import Task
from tests.dsr import (
    KIM,
    append,
    fulfil,
    identity,
    kept,
    point,
    refusal,
    request_of,
    results_at,
    send,
    values_at,
)
from tests.logdata import Caller, device_token, log_transaction, make_log_account, reader_token
from workers import processor as worker

ARCHIVES = "/v1/logdata/exports"
WRITTEN = 7  # which look at the clock comes when an export has written points, and not yet told so


def another_device(device: Caller, app: Flask, processor: ProcessorServices, name: str) -> Caller:
    """Another device of the same account."""
    return Caller(app, device_token(processor, device.account_id, name), device.account_id)


def names_in(processor: ProcessorServices, account_id: UUID) -> set[str]:
    """What the account's devices and tags are called."""
    with log_transaction(processor) as tx:
        account = accounts.find_account(tx, account_id)
        of_devices = {device.name for device in devices.list_devices(tx, account)}
        return of_devices | {tag.name for tag in devices.list_tags(tx, account)}


@pytest.mark.parametrize("kind", ["access", "portability"])
def test_access_finds_a_person_in_texts_and_names_and_nobody_else(
    kind: str,
    device: Caller,
    reader: Caller,
    log_app: Flask,
    processor: ProcessorServices,
    processor_worker: ProcessorServices,
) -> None:
    append(
        device,
        point(KIM, "operator", 0),
        point(" Kim@Customer.EXAMPLE ", "operator", 1),
        point(f"acknowledged by {KIM}.", "alarm", 2),
        point(f"acknowledged by joa{KIM}", "alarm", 3),
        point(f"x.{KIM} and {KIM}.evil", "alarm", 4),
        point("alex@customer.example", "operator", 5),
        point(7, f"shift of {KIM}", 6),
        point(8, KIM, 7),
    )
    append(another_device(device, log_app, processor, KIM), point(9, "speed", 8))
    path = send(reader, request_of(kind, identity(KIM)))
    fulfil(processor_worker)
    told = reader.get(path).get_json()
    assert told["results_count"] == 5
    assert told["results_url"].endswith(f"{path}/results")
    assert sorted(map(str, values_at(reader, path))) == sorted(
        [KIM, " Kim@Customer.EXAMPLE ", f"acknowledged by {KIM}.", "8", "9"]
    )
    lines = results_at(reader, path)
    assert {"device": KIM} in lines
    assert {"device": "pump-1", "tag": KIM} in lines
    assert {"device": "pump-1", "tag": "operator", "time": "2026-01-01T12:00:00Z", "value": KIM} in lines


@pytest.mark.parametrize("how", ["sha1", "md5", "sha256"])
@pytest.mark.parametrize("spelled", [KIM, "Kim@Customer.example"])
def test_a_hashed_identity_is_found_where_it_stands_alone(
    how: str, spelled: str, device: Caller, reader: Caller, processor_worker: ProcessorServices
) -> None:
    append(device, point("Kim@Customer.example", minute=0), point(f"by {KIM}", minute=1), point("other", minute=2))
    hashed = hashlib.new(how, spelled.encode()).hexdigest()
    path = send(reader, request_of("access", identity(hashed.upper(), how=how)))
    fulfil(processor_worker)
    assert values_at(reader, path) == ["Kim@Customer.example"]


@pytest.mark.parametrize("kind", ["device_name", "serial"])
def test_a_device_is_found_by_its_name_alone(
    kind: str,
    device: Caller,
    reader: Caller,
    log_app: Flask,
    processor: ProcessorServices,
    processor_worker: ProcessorServices,
) -> None:
    append(device, point(1), point("pump-2", "text"))
    append(another_device(device, log_app, processor, "Pump-2"), point(2), point("x", "pump-2"))
    path = send(reader, request_of("access", identity("pump-2", kind)))
    fulfil(processor_worker)
    assert sorted(map(str, values_at(reader, path))) == ["2", "x"]


def test_a_tag_is_found_by_its_name_on_every_device(
    device: Caller, reader: Caller, log_app: Flask, processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    append(device, point(1, "badge"), point(2, "other"))
    append(another_device(device, log_app, processor, "badge"), point(3, "Badge"), point(4, "other"))
    path = send(reader, request_of("access", identity("badge", "tag"), identity("pump-1", "device_name")))
    fulfil(processor_worker)
    assert sorted(values_at(reader, path)) == [1, 2, 3]
    assert reader.get(path).get_json()["results_count"] == 3


def test_erasure_deletes_what_was_found_and_nothing_else(
    device: Caller, reader: Caller, log_app: Flask, processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    append(
        device,
        *(point(KIM if minute in (1, 2, 5) else f"text {minute}", "operator", minute) for minute in range(8)),
        point(f"seen by {KIM}", "alarm", 2),
        point(1, "speed", 2),
        point(2, KIM, 3),
    )
    append(another_device(device, log_app, processor, KIM), point(3, "speed", 4))
    path = send(reader, request_of("erasure", identity(KIM)))
    fulfil(processor_worker)
    told = reader.get(path).get_json()
    assert (told["request_status"], told["results_count"]) == ("completed", 6)
    assert "results_url" not in told
    assert refusal(reader.get(f"{path}/results")) == (404, "not_found")
    assert kept(processor, device.account_id) == ["1", "text 0", "text 3", "text 4", "text 6", "text 7"]
    names = names_in(processor, device.account_id)
    assert {"pump-1", "operator", "alarm", "speed"} < names
    assert [name.split()[0] for name in names - {"pump-1", "operator", "alarm", "speed"}] == ["erased", "erased"]
    path = send(reader, request_of("access", identity(KIM)))
    fulfil(processor_worker)
    assert results_at(reader, path) == []


def test_what_comes_after_an_erasure_was_ordered_is_kept(
    device: Caller, reader: Caller, processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    append(device, point(KIM, minute=1))
    path = send(reader, request_of("erasure", identity(KIM)))
    with log_transaction(processor, now=processor.clock()) as tx:
        [begun] = tasks.unfinished(tx)
    worker.carry_out(processor_worker, begun)
    assert reader.get(path).get_json()["request_status"] == "in_progress"
    append(device, point(KIM, minute=2))
    fulfil(processor_worker)
    assert reader.get(path).get_json()["results_count"] == 1
    assert kept(processor, device.account_id) == [KIM]


def test_nothing_of_another_account_is_searched(
    device: Caller, reader: Caller, log_app: Flask, processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    other = make_log_account(processor)
    neighbour = Caller(log_app, device_token(processor, other, KIM), other)
    append(neighbour, point(KIM), point(1, KIM))
    append(device, point("mine"))
    for kind in ("access", "erasure"):
        path = send(reader, request_of(kind, identity(KIM)))
        fulfil(processor_worker)
        assert reader.get(path).get_json()["results_count"] == 0
    assert kept(processor, other) == ["1", KIM]
    assert kept(processor, device.account_id) == ["mine"]
    owner = Caller(log_app, reader_token(processor, other), other)
    for method, sub in (("GET", ""), ("DELETE", ""), ("GET", "/results")):
        assert refusal(owner.send(method, path + sub)) == (404, "not_found")


def test_a_completed_erasure_leaves_the_subject_in_no_archive_that_was_made_before(
    reader: Caller, device: Caller, processor_worker: ProcessorServices
) -> None:
    append(device, point(KIM), point("else", minute=1))
    export = reader.post(ARCHIVES, {"format": "ndjson"}).get_json()["id"]
    found = send(reader, request_of("access", identity(KIM)))
    fulfil(processor_worker)
    objects, below = processor_worker.objects, f"exports/{reader.account_id}/"
    assert len(list(objects.keys(below))) == 2
    erasure = send(reader, request_of("erasure", identity(KIM)))
    fulfil(processor_worker)
    assert reader.get(erasure).get_json()["request_status"] == "completed"
    assert list(objects.keys(below)) == []
    assert reader.get(f"{ARCHIVES}/{export}/archive").status_code == 410
    assert reader.get(f"{ARCHIVES}/{export}").get_json()["status"] == "expired"
    assert reader.get(f"{found}/results").status_code == 410


def test_an_archive_that_is_written_while_a_subject_is_erased_is_begun_anew(
    reader: Caller, device: Caller, processor_worker: ProcessorServices
) -> None:
    append(device, point(KIM), point("else", minute=1))
    request = UUID(reader.post(ARCHIVES, {"format": "ndjson"}).get_json()["id"])
    with log_transaction(processor_worker) as tx:
        tx.session.execute(delete(LogTask))  # as if its worker held it
    looks = count(1)

    def clock() -> datetime:
        """Tells the time; once the points are written, a whole erasure comes between."""
        if next(looks) == WRITTEN:
            path = send(reader, request_of("erasure", identity(KIM)))
            fulfil(processor_worker)
            assert reader.get(path).get_json()["request_status"] == "completed"
        return processor_worker.clock()

    task = Task(reader.account_id, new_id(), exports.KIND, request)
    exports.carry_out(processor_worker.plane, processor_worker.objects, processor_worker.policy, task, clock)
    assert next(looks) > WRITTEN
    archive = reader.get(f"{ARCHIVES}/{request}/archive")
    assert archive.status_code == 200
    assert [json.loads(line)["value"] for line in archive.get_data().splitlines()] == ["else"]
    assert len(list(processor_worker.objects.keys(f"exports/{reader.account_id}/"))) == 1
