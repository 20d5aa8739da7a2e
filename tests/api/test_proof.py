"""What proves an erasure, over HTTP, without a token."""

import json

from flask import Flask
from sqlalchemy import Engine

from cloudpriv.audit import certificates, log, notes
from cloudpriv.bootstrap import Services
from cloudpriv.platform.ids import new_id
from tests.backend import Backend
from tests.factories import transaction
from tests.proofs import BASE, KEY, advance, change, make_certificate, make_events


def test_anybody_who_knows_the_id_gets_a_certificate_that_verifies(app: Flask, worker_services: Services) -> None:
    make_events(worker_services, 20)
    certificate_id = make_certificate(worker_services)
    advance(worker_services)
    http = app.test_client()
    answer, key = http.get(f"/v1/certificates/{certificate_id}"), http.get("/v1/audit/key")
    assert (answer.status_code, key.status_code) == (200, 200)
    assert key.content_type == "text/plain; charset=utf-8"
    assert certificates.verify(certificates.read_document(answer.text), key.text).size == 22
    assert json.loads(answer.text)["certificate"]["id"] == str(certificate_id)


def test_a_certificate_outlives_the_database_it_was_made_in(
    app: Flask, worker_services: Services, owner_engine: Engine
) -> None:
    certificate_id = make_certificate(worker_services)
    advance(worker_services)
    http = app.test_client()
    before = http.get(f"/v1/certificates/{certificate_id}").get_json()
    change(owner_engine, "DELETE FROM certificates")  # as a restore does
    # Where the database was not restored the bucket is not asked: random ids of anybody would cost it a request each.
    assert http.get(f"/v1/certificates/{certificate_id}").status_code == 404
    with transaction(worker_services) as tx:
        assert log.begin_anew(tx, worker_services.ledger, KEY, BASE) == 2
    assert http.get(f"/v1/certificates/{new_id()}").status_code == 404
    after = http.get(f"/v1/certificates/{certificate_id}")
    assert (after.status_code, after.get_json()) == (200, before)
    certificates.verify(after.get_json(), http.get("/v1/audit/key").text)


def test_a_certificate_that_is_not_published_yet_is_not_shown(app: Flask, worker_services: Services) -> None:
    certificate_id = make_certificate(worker_services)
    answer = app.test_client().get(f"/v1/certificates/{certificate_id}")
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/not_ready")
    assert app.test_client().get(f"/v1/certificates/{new_id()}").status_code == 404


def test_the_newest_checkpoint_is_a_signed_note(app: Flask, worker_services: Services) -> None:
    http = app.test_client()
    assert (http.get("/v1/audit/checkpoint").status_code, http.get("/v1/audit/key").status_code) == (404, 404)
    for size in (3, 5):
        make_events(worker_services, 2)
        advance(worker_services)
        answer = http.get("/v1/audit/checkpoint")
        assert (answer.status_code, answer.content_type) == (200, "text/plain; charset=utf-8")
        assert notes.open_checkpoint(answer.text, http.get("/v1/audit/key").text).size == size


def test_what_a_backend_does_stands_in_the_log(backend: Backend, worker_services: Services) -> None:
    account = backend.open_account()
    advance(worker_services)
    for _ in range(3):
        backend.get(f"/v1/accounts/{account}")
    assert advance(worker_services) == 3
