"""/opendsr/v2: requests of data subjects, from the customer as their controller."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidSignature
from flask import Flask
from sqlalchemy import Engine, delete, text

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts, devices, tasks
from cloudpriv.processor.orders import exports
from cloudpriv.processor.query import reading
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.storage.columns import VALUES
from cloudpriv.processor.tables import LogTask
from cloudpriv.processor.tasks import Task
from tests.dsr import (
    REQUESTS,
    append,
    check_signature,
    fulfil,
    identity,
    point,
    request_of,
    results_at,
    send,
    values_at,
)
from tests.logdata import Caller, device_token, log_transaction, make_log_account, reader_token
from workers import processor as worker

KIM = "kim@customer.example"


ARCHIVES = "/v1/logdata/exports"
WRITTEN = 7  # which look at the clock comes when an export has written points, and not yet told so


def another_device(device: Caller, app: Flask, processor: ProcessorServices, name: str) -> Caller:
    """Another device of the same account."""
    return Caller(app, device_token(processor, device.account_id, name), device.account_id)


def kept(processor: ProcessorServices, account_id: UUID) -> list[str]:
    """The values of all points that the account has."""
    with log_transaction(processor) as tx:
        tables = list(reading.snapshot(tx, account_id, Selection()).points(processor.objects))
    rows = [row for table in tables for row in table.select(VALUES).to_pylist()]
    return sorted(str(value) for row in rows for value in row.values() if value is not None)


def names_in(processor: ProcessorServices, account_id: UUID) -> set[str]:
    """What the account's devices and tags are called."""
    with log_transaction(processor) as tx:
        account = accounts.find_account(tx, account_id)
        of_devices = {device.name for device in devices.list_devices(tx, account)}
        return of_devices | {tag.name for tag in devices.list_tags(tx, account)}


def refusal(answer: Any) -> tuple[int, str]:
    """Status and the first reason of a refusal, whose form is checked."""
    error = answer.get_json()["error"]
    assert answer.content_type == "application/json"
    assert (error["code"], set(error)) == (answer.status_code, {"code", "message", "errors"})
    return answer.status_code, error["errors"][0]["reason"]


def test_discovery_says_what_there_is_and_who_signs(log_app: Flask) -> None:
    http = log_app.test_client()
    answer = http.get("/opendsr/v2/discovery")
    told = answer.get_json()
    assert (answer.status_code, told["api_version"]) == (200, "2.0")
    assert sorted(told["supported_subject_request_types"]) == ["access", "erasure", "portability"]
    assert {"identity_type": "email", "identity_format": "sha256"} in told["supported_identities"]
    address = told["processor_certificate"]
    assert address.startswith("http://127.0.0.1:8081/opendsr/v2/")
    chain = http.get(address.removeprefix("http://127.0.0.1:8081"))
    assert (chain.status_code, chain.content_type) == (200, "application/pem-certificate-chain")
    check_signature(chain.data, answer.headers["X-OpenDSR-Signature"], answer.data)
    assert answer.headers["X-OpenDSR-Processor-Domain"] == "127.0.0.1"
    with pytest.raises(InvalidSignature):
        check_signature(chain.data, answer.headers["X-OpenDSR-Signature"], answer.data + b" ")


def test_a_request_is_taken_with_a_signed_receipt(reader: Caller) -> None:
    body = json.dumps(request_of("access", identity(KIM)))
    answer = reader.post(REQUESTS, data=body, content_type="application/json")
    told = answer.get_json()
    assert answer.status_code == 201
    assert base64.b64decode(told["encoded_request"]).decode() == body
    assert told["controller_id"] == str(reader.account_id)
    assert told["received_time"] < told["expected_completion_time"]
    chain = reader.http.get("/opendsr/v2/certificate.pem").data
    check_signature(chain, answer.headers["X-OpenDSR-Signature"], answer.data)


def test_a_request_goes_from_pending_to_completed(reader: Caller, processor_worker: ProcessorServices) -> None:
    body = request_of("access", identity(KIM))
    path = send(reader, body)
    pending = reader.get(path)
    assert pending.get_json() == {
        "controller_id": str(reader.account_id),
        "expected_completion_time": pending.get_json()["expected_completion_time"],
        "subject_request_id": body["subject_request_id"],
        "request_status": "pending",
        "api_version": "2.0",
    }
    assert refusal(reader.get(f"{path}/results")) == (400, "not_ready")
    fulfil(processor_worker)
    done = reader.get(path.replace("requests", "status"))
    assert done.get_json() == reader.get(path).get_json()
    assert (done.get_json()["request_status"], done.get_json()["results_count"]) == ("completed", 0)
    chain = reader.http.get("/opendsr/v2/certificate.pem").data
    check_signature(chain, done.headers["X-OpenDSR-Signature"], done.data)


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


def test_the_same_request_again_is_taken_once(reader: Caller, processor_owner: Engine) -> None:
    body = request_of("access", identity(KIM))
    first, again = reader.post(REQUESTS, body), reader.post(REQUESTS, body)
    assert (again.status_code, again.get_json()) == (201, first.get_json())
    for other in ({"subject_request_type": "erasure"}, {"subject_identities": [identity("alex@customer.example")]}):
        assert refusal(reader.post(REQUESTS, body | other)) == (400, "conflict")
    with processor_owner.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM log_tasks WHERE kind = 'request'")).scalar() == 1


def test_a_pending_request_can_be_cancelled_and_a_completed_one_cannot(
    device: Caller, reader: Caller, processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    append(device, point(KIM))
    body = request_of("erasure", identity(KIM))
    path = send(reader, body)
    answer = reader.send("DELETE", path)
    assert (answer.status_code, answer.get_json()["subject_request_id"]) == (202, body["subject_request_id"])
    chain = reader.http.get("/opendsr/v2/certificate.pem").data
    check_signature(chain, answer.headers["X-OpenDSR-Signature"], answer.data)
    fulfil(processor_worker)
    assert reader.get(path).get_json()["request_status"] == "cancelled"
    assert kept(processor, device.account_id) == [KIM]
    done = send(reader, request_of("access", identity(KIM)))
    fulfil(processor_worker)
    assert refusal(reader.send("DELETE", done)) == (400, "conflict")
    assert refusal(reader.send("DELETE", f"{REQUESTS}/{uuid4()}")) == (404, "not_found")


def test_results_are_gone_when_exports_are(
    device: Caller, reader: Caller, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    append(device, point(KIM))
    path = send(reader, request_of("access", identity(KIM)))
    fulfil(processor_worker)
    with processor_owner.begin() as connection:
        connection.execute(text("UPDATE log_exports SET expires_at = now()"))
    assert refusal(reader.get(f"{path}/results")) == (410, "gone")


@pytest.mark.parametrize(
    "wrong",
    [
        {"regulation": "hipaa"},
        {"subject_request_id": "a7551968-d5d6-11b2-9831-815ac9017798"},
        {"subject_request_id": "A7551968-D5D6-44B2-9831-815AC9017798"},
        {"subject_request_type": "rectification"},
        {"submitted_time": "2026-01-02T10:00:00"},
        {"subject_identities": []},
        {"subject_identities": [identity("x", "ios_vendor_id")]},
        {"subject_identities": [identity(KIM, how="sha256")]},
        {"subject_identities": [identity("   ")]},
        {"api_version": "1.0"},
        {"extensions": {"127.0.0.1": {"since": "2026-01-01"}}},
        {"unknown": 1},
        {"status_callback_urls": ["http://controller.example/callbacks"]},
        {"status_callback_urls": ["https://kim:secret@controller.example/"]},
        {"status_callback_urls": ["https://127.0.0.1/"]},
        {"status_callback_urls": ["https://[::ffff:10.0.0.1]/"]},
        {"status_callback_urls": ["file:///etc/passwd"]},
        {"status_callback_urls": ["https://controller.example/\r\nX: y"]},
    ],
    ids=str,
)
def test_a_request_that_cannot_be_taken_is_400(wrong: dict[str, Any], reader: Caller) -> None:
    answer = reader.post(REQUESTS, request_of("access", identity(KIM)) | wrong)
    assert refusal(answer) == (400, "invalid")
    assert KIM not in answer.get_data(as_text=True)


def test_a_body_that_is_none_is_400(reader: Caller) -> None:
    for options in (
        {"data": b"{", "content_type": "application/json"},
        {"data": b"{}", "content_type": "text/plain"},
        {"data": b" " * 70_000, "content_type": "application/json"},
    ):
        assert reader.post(REQUESTS, **options).get_json()["error"]["code"] == 400


def test_extensions_for_others_are_passed_over(reader: Caller) -> None:
    send(reader, request_of("access", identity(KIM), extensions={"other.example": {"id": 1}}))


def test_only_customers_with_the_scope_get_in(device: Caller, vendor: Caller, reader: Caller, owner: Caller) -> None:
    body = request_of("access", identity(KIM))
    for caller in (device, vendor, owner):
        assert refusal(caller.post(REQUESTS, body)) == (403, "insufficient_scope")
    nobody = reader.http.post(REQUESTS, json=body)
    assert refusal(nobody) == (401, "unauthenticated")
    assert nobody.headers["WWW-Authenticate"]
    assert reader.get(send(reader, body)).status_code == 200


def test_the_customer_sees_what_was_done(reader: Caller, device: Caller, processor_worker: ProcessorServices) -> None:
    append(device, point(KIM))
    path = send(reader, request_of("access", identity(KIM)))
    fulfil(processor_worker)
    results_at(reader, path)
    request_id = path.rpartition("/")[2]
    events = reader.get("/v1/logdata/access-log?limit=500").get_json()["items"]
    assert [event["action"] for event in events if event["subject_id"] == request_id] == [
        "opendsr.receive",
        "opendsr.in_progress",
        "opendsr.completed",
        "opendsr.results.read",
    ]


def test_without_a_certificate_there_is_no_opendsr(log_app: Flask, reader: Caller) -> None:
    run = log_app.extensions[EXTENSION]
    log_app.extensions[EXTENSION] = replace(run, services=replace(run.services, certificate=None))
    assert refusal(reader.http.get("/opendsr/v2/discovery")) == (404, "not_found")
    assert refusal(reader.post(REQUESTS, request_of("access", identity(KIM)))) == (404, "not_found")


def test_nothing_of_a_request_is_in_the_clear(
    device: Caller, reader: Caller, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    append(device, point(KIM))
    url = "https://controller.example/of-kim"
    send(reader, request_of("access", identity(KIM), status_callback_urls=[url]))
    fulfil(processor_worker)
    tables = ("log_requests", "log_callbacks", "log_exports", "log_tasks", "log_events")
    with processor_owner.connect() as connection:
        rows = [str(row) for table in tables for row in connection.execute(text(f"SELECT {table}::text FROM {table}"))]  # noqa: S608  names from above
    assert not [row for row in rows if KIM in row or "of-kim" in row]
    objects = [processor_worker.objects.get(key) for key in processor_worker.objects.keys("exports/")]
    assert objects
    assert not [content for content in objects if b"kim" in content.lower()]


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
