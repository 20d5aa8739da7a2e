"""What stands in the log says nothing of anybody, nor anything that a list of names, mails or serials could confirm."""

import base64
import json
import re
from collections.abc import Iterator
from hashlib import blake2b, md5, sha1, sha256, sha512
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from cloudpriv.audit import events, verification
from cloudpriv.audit.events import AuditEvent
from cloudpriv.audit.tables import Certificate
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, people
from cloudpriv.platform.actor import WORKER
from cloudpriv.retention import certify, erase
from tests.factories import NOW, transaction
from tests.proofs import advance
from tests.purges import close, make_full_account, purge_of, run

UUID_TEXT = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z|\+00:00)"
NAME = r"[a-z][a-z0-9_]{0,30}"
# Of every column of an event, all that may stand there. A new column fails here until somebody has thought about it.
SHAPES = {
    "event_id": UUID_TEXT,
    "at": TIME,
    "actor_kind": "client|operator|worker",
    "actor_id": f"{UUID_TEXT}|cli|worker|unauthenticated|public|uid-[0-9]+",
    "action": rf"{NAME}\.{NAME}",
    "account_id": UUID_TEXT,
    "subject_id": UUID_TEXT,
    "fields": NAME,
    "request_id": UUID_TEXT,
}
KNOWN = ("Acme Water Ltd", "SE556000-0001", "Kim Example", "kim@example.com", "the dog", "cosy-", "Pump", "acme-water",
         "Halmstad District Court", "T 1-26")  # fmt: skip
HASHES = (md5, sha1, sha256, sha512, lambda raw: blake2b(raw, digest_size=16), lambda raw: blake2b(raw, digest_size=32))


@pytest.fixture
def leaves(services: Services, worker_services: Services, owner_engine: Engine) -> list[dict[str, Any]]:
    """All leaves after the life and erasure of an account that has something everywhere."""
    account_id = make_full_account(services)
    with transaction(services) as tx:
        person = people.list_people(tx, account_id, after=None, limit=1)[0].row
        accounts.read_account(tx, account_id)
        events.record(tx, "person.change", account_id=account_id, subject_id=person.person_id, fields=["email", "name"])
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "done"
    advance(worker_services)
    with worker_services.controller.transaction(WORKER, NOW, read_only=True) as tx:
        lines = [json.loads(line) for line in verification.exported(tx)]
        assert tx.session.query(Certificate).count() == 1
    return [line for line in lines if len(line) > 1]


def canaries() -> Iterator[str]:
    """What is known of the account, as it was given and as somebody who guesses would hash it."""
    for known in KNOWN:
        yield known
        for form in {known, known.lower(), known.casefold().strip()}:
            for algorithm in HASHES:
                digest = algorithm(form.encode()).digest()
                yield from (digest.hex(), base64.b64encode(digest).decode().rstrip("="))


def test_every_value_of_an_events_leaf_is_a_random_id_a_time_or_a_name_of_ours(leaves: list[dict[str, Any]]) -> None:
    assert set(SHAPES) == set(AuditEvent.__table__.columns.keys())
    of_events = [leaf for leaf in leaves if "event_id" in leaf]
    assert len(of_events) > 10
    for leaf in of_events:
        assert set(leaf) == set(SHAPES)
        for name, value in leaf.items():
            for text in value if isinstance(value, list) else [value]:
                assert text is None or re.fullmatch(SHAPES[name], text), (name, text)


def test_every_value_of_a_certificate_is_an_id_a_time_a_count_or_the_policys(
    leaves: list[dict[str, Any]], services: Services
) -> None:
    [certificate] = [leaf for leaf in leaves if "event_id" not in leaf]
    purge = purge_of(services, certificate["purge_id"])
    controller = services.policy.controller_of("talk2m").name
    ours = {certify.STATEMENT, controller, "erasure", "talk2m", purge.trigger, purge.rule, purge.policy_version}
    [account_id] = {leaf["account_id"] for leaf in leaves if leaf.get("action") == "account.create"}
    ours.add(erase.hash_of(UUID(account_id)).hex())
    for text in _texts(certificate):
        assert text in ours or re.fullmatch(f"{UUID_TEXT}|{TIME}|{NAME}", text), text


def test_nothing_known_of_an_account_stands_in_the_log(leaves: list[dict[str, Any]]) -> None:
    whole = json.dumps(leaves, ensure_ascii=False)
    assert [canary for canary in canaries() if canary in whole] == []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
    elif isinstance(value, str):
        yield value
