"""/opendsr/v2: requests of data subjects are taken, signed for, followed, cancelled and refused."""

import base64
import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidSignature
from flask import Flask
from sqlalchemy import Engine, text

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import ProcessorServices
from tests.dsr import (
    KIM,
    REQUESTS,
    append,
    check_signature,
    fulfil,
    identity,
    kept,
    point,
    refusal,
    request_of,
    results_at,
    send,
)
from tests.logdata import Caller

ARCHIVES = "/v1/logdata/exports"


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
