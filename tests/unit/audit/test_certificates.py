"""Certificates: issued once, signed, proved to be in the log, verified without the database."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

from cloudpriv.audit import certificates, notes
from cloudpriv.audit.canonical import canonical
from cloudpriv.audit.merkle import ProofError
from cloudpriv.bootstrap import Services
from cloudpriv.platform.errors import NotFoundError, NotReadyError
from cloudpriv.platform.ids import new_id
from tests.factories import transaction
from tests.proofs import BASE, KEY, advance, make_certificate, make_events, vkeys

PUBLIC = OKPKey.import_key(OKPKey.import_key(KEY).as_dict(private=False))
VKEY = notes.verifier_key(f"{BASE}/log/1", KEY).text
Document = dict[str, Any]


def document_of(services: Services, certificate_id: UUID) -> Document:
    """The certificate as it is given to anybody."""
    with transaction(services) as tx:
        return certificates.document(tx, certificate_id)


@pytest.fixture
def document(worker_services: Services) -> Document:
    """A published certificate."""
    make_events(worker_services, 5)
    certificate_id = make_certificate(worker_services)
    make_events(worker_services, 5)
    advance(worker_services)
    return document_of(worker_services, certificate_id)


def test_a_certificate_says_what_was_erased_and_when_it_was_issued(worker_services: Services) -> None:
    purge_id = new_id()
    certificate_id = make_certificate(worker_services, purge_id)
    advance(worker_services)
    assert document_of(worker_services, certificate_id)["certificate"] == {
        "id": str(certificate_id),
        "purge_id": str(purge_id),
        "service": "talk2m",
        "issued_at": "2026-06-01T12:00:00.000000Z",
        "rule": "traffic/P7Y",
        "counts": {"people": 1, "traffic": 3},
        "erased_at": "2026-06-01T12:00:00.000000Z",
    }


def test_an_erasure_has_one_certificate_however_often_it_is_asked_for(worker_services: Services) -> None:
    purge_id = new_id()
    issued = {make_certificate(worker_services, purge_id) for _ in range(3)}
    assert len(issued) == 1
    advance(worker_services)
    assert make_certificate(worker_services, purge_id) in issued
    assert advance(worker_services) == 0


def test_a_certificate_is_shown_once_its_place_in_the_log_is_published(worker_services: Services) -> None:
    certificate_id = make_certificate(worker_services)
    with pytest.raises(NotReadyError):
        document_of(worker_services, certificate_id)
    with pytest.raises(NotFoundError):
        document_of(worker_services, new_id())
    advance(worker_services)
    first = document_of(worker_services, certificate_id)
    make_events(worker_services, 300)
    advance(worker_services)
    assert document_of(worker_services, certificate_id) == first


def test_a_document_is_verified_with_the_key_alone(document: Document) -> None:
    checkpoint = certificates.verify(json.loads(json.dumps(document)), VKEY)
    assert (checkpoint.origin, checkpoint.size) == (f"{BASE}/log/1", 12)


def test_the_signature_is_a_jws_that_others_verify(document: Document) -> None:
    content = canonical(document["certificate"])
    found = jws.deserialize_compact(document["signature"], PUBLIC, payload=content, algorithms=["Ed25519"])
    assert found.headers() == {"alg": "Ed25519", "kid": PUBLIC.thumbprint()}


def _other_signature(document: Document) -> None:
    document["signature"] = certificates.sign(b"{}", KEY)


def _other_key(document: Document) -> None:
    document["signature"] = certificates.sign(canonical(document["certificate"]), Ed25519PrivateKey.generate())


def _signed_but_not_logged(document: Document) -> None:
    document["certificate"]["counts"]["traffic"] = 0
    document["signature"] = certificates.sign(canonical(document["certificate"]), KEY)


def _other_place(document: Document) -> None:
    document["proof"] = document["proof"].replace("index 6", "index 5")


def _other_log(document: Document) -> None:
    document["proof"] = document["proof"].replace("log/1", "log/2")


def _other_size(document: Document) -> None:
    document["proof"] = document["proof"].replace("\n12\n", "\n13\n")


FORGERIES: list[tuple[Callable[[Document], object], str]] = [
    (lambda document: document["certificate"].update(rule="x"), "signature is not that of the key"),
    (lambda document: document["certificate"].pop("counts"), "signature is not that of the key"),
    (lambda document: document["certificate"].update(share=0.5), "what no certificate does"),
    (lambda document: document.update(more=1), "not of certificate, signature and proof"),
    (lambda document: document.update(proof=1), "another kind"),
    (lambda document: document.update(signature="x"), "another key"),
    (_other_signature, "signature is not that of the key"),
    (_other_key, "another key"),
    (_signed_but_not_logged, "does not lead to the root"),
    (_other_place, "does not lead to the root"),
    (_other_log, "another log"),
    (_other_size, "not that of the key over its text"),
]


@pytest.mark.parametrize(("forge", "said"), FORGERIES)
def test_what_was_changed_is_found_and_named(document: Document, forge: Callable[[Document], object], said: str) -> None:
    forge(document)
    with pytest.raises(ProofError, match=said):
        certificates.verify(document, VKEY)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', "[" * 100_000])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        certificates.read_document(text)


def test_the_right_key_is_found_among_those_of_several_logs(document: Document, worker_services: Services) -> None:
    other = Ed25519PrivateKey.generate()
    certificate_id = make_certificate(worker_services, key=other)
    advance(worker_services, other)
    keys = vkeys(worker_services)
    assert len(keys.splitlines()) == 2
    assert certificates.verify(document, keys).origin == f"{BASE}/log/1"
    assert certificates.verify(document_of(worker_services, certificate_id), keys).origin == f"{BASE}/log/2"
