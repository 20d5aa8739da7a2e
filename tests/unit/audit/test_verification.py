"""Changing, dropping, adding or reordering what is stored is found, and said where: in the database and in a file."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from cloudpriv.audit import certificates, checkpoints, merkle, notes, tiles, verification
from cloudpriv.audit.merkle import ProofError
from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER
from tests.factories import NOW, transaction
from tests.proofs import BASE, KEY, advance, change, hash_anew, make_certificate, make_events, newest, vkeys

ORIGIN = f"{BASE}/log/1"
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
NO_END = f"{BASE}/log/2 does not begin with the end of the log before"
STRANGER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SWAP = """
    UPDATE audit_events e SET action = o.action, account_id = o.account_id
    FROM audit_events o WHERE (e.event_id, o.event_id) IN ((:one, :other), (:other, :one))
"""


FORGE = "UPDATE log_tiles SET hashes = overlay(hashes PLACING sha256('x') FROM :at) WHERE level = 0 AND number = 1"


@pytest.fixture
def logged(worker_services: Services) -> list[str]:
    """Ids of what is logged as indexes 1 to 703, under three checkpoints: of 401, 702 and 704 leaves."""
    made = [str(event) for event in make_events(worker_services, 400)]
    advance(worker_services)
    made += [str(event) for event in make_events(worker_services, 300)]
    made.append(str(make_certificate(worker_services)))
    advance(worker_services)
    made += [str(event) for event in make_events(worker_services, 2)]
    advance(worker_services)
    return ["", *made]


def faults(services: Services, keys: str | None = None) -> list[str]:
    """What is not as it was signed."""
    with services.controller.transaction(WORKER, NOW, read_only=True) as tx:
        return list(verification.faults(tx, services.ledger, keys))


def exported(services: Services) -> list[bytes]:
    """The lines of the file."""
    with services.controller.transaction(WORKER, NOW, read_only=True) as tx:
        return list(verification.exported(tx))


def test_what_nobody_touched_is_as_it_was_signed(worker_services: Services, logged: list[str]) -> None:
    assert faults(worker_services) == []
    assert faults(worker_services, vkeys(worker_services)) == []
    assert verification.verify_lines(exported(worker_services), vkeys(worker_services)) == {ORIGIN: 704}


@pytest.mark.parametrize(
    "column", ["at", "actor_kind", "actor_id", "action", "account_id", "subject_id", "fields", "request_id"]
)
def test_a_changed_event_is_found(worker_services: Services, logged: list[str], owner_engine: Engine, column: str) -> None:
    new = {
        "at": "at + interval '1 microsecond'",
        "fields": "array['name']",
        "actor_kind": "'x'",
        "actor_id": "'x'",
        "action": "'x'",
    }
    statement = f"UPDATE audit_events SET {column} = {new.get(column, 'event_id')} WHERE event_id = :id"  # noqa: S608  ours
    change(owner_engine, statement, id=logged[500])
    assert faults(worker_services) == [f"{ORIGIN} index 500: {logged[500]} is not what was logged"]


def test_a_dropped_event_is_found(worker_services: Services, logged: list[str], owner_engine: Engine) -> None:
    change(owner_engine, "DELETE FROM audit_events WHERE event_id = :id", id=logged[7])
    assert faults(worker_services) == [f"{ORIGIN} index 7: {logged[7]} is not stored any more"]
    with pytest.raises(ProofError, match="entry 7 "):
        exported(worker_services)


def test_events_that_changed_places_are_found(worker_services: Services, logged: list[str], owner_engine: Engine) -> None:
    change(owner_engine, SWAP, one=logged[3], other=logged[600])
    assert faults(worker_services) == [f"{ORIGIN} index {at}: {logged[at]} is not what was logged" for at in (3, 600)]


def test_an_event_beside_the_log_is_found(worker_services: Services, logged: list[str], owner_engine: Engine) -> None:
    change(owner_engine, "INSERT INTO audit_events SELECT gen_random_uuid(), at, actor_kind, actor_id, action, account_id, "
           "subject_id, fields, request_id FROM audit_events WHERE event_id = :id", id=logged[1])  # fmt: skip
    [found] = faults(worker_services)
    assert found.endswith("is neither logged nor waits for it")


def test_a_changed_certificate_is_found(worker_services: Services, logged: list[str], owner_engine: Engine) -> None:
    change(owner_engine, r"UPDATE certificates SET body = body || '\x20'::bytea")
    assert faults(worker_services) == [
        f"{ORIGIN} index 701: {logged[701]} is not what was logged",
        f"certificate {logged[701]}: the certificate's signature is not that of the key over its content",
    ]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("signature = 'x'", ": the certificate was signed with another key or in another way"),
        (
            "signature = left(signature, -4) || 'AAAA'",
            ": the certificate's signature is not that of the key over its content",
        ),
        ("purge_id = certificate_id", ": its row is not what the certificate says"),
        ("service = 'x'", ": its row is not what the certificate says"),
        ("issued_at = issued_at - interval '1 day'", ": its row is not what the certificate says"),
        ("log = 2", " is not where its row says, nor waits to be logged"),
        ("leaf_index = 700", " is not where its row says, nor waits to be logged"),
        ("log = NULL, leaf_index = NULL", " is not where its row says, nor waits to be logged"),
    ],
)
def test_a_changed_row_of_a_certificate_is_found(
    worker_services: Services, logged: list[str], owner_engine: Engine, statement: str, said: str
) -> None:
    change(owner_engine, f"UPDATE certificates SET {statement}")  # noqa: S608  ours
    assert faults(worker_services) == [f"certificate {logged[701]}{said}"]


def test_a_certificate_that_waits_to_be_logged_is_well(worker_services: Services, logged: list[str]) -> None:
    make_certificate(worker_services)
    assert faults(worker_services) == []


def test_a_certificate_that_waited_while_the_key_was_changed_is_well(worker_services: Services, logged: list[str]) -> None:
    certificate_id = make_certificate(worker_services)
    advance(worker_services, OTHER)
    assert faults(worker_services) == []
    with worker_services.controller.transaction(WORKER, NOW, read_only=True) as tx:
        document = certificates.document(tx, certificate_id)
    assert certificates.verify(document, vkeys(worker_services)).origin == f"{BASE}/log/2"


def test_a_changed_event_is_found_also_where_the_service_has_signed_it(
    worker_services: Services, logged: list[str], owner_engine: Engine
) -> None:
    change(owner_engine, "DELETE FROM certificates")
    change(owner_engine, "DELETE FROM checkpoints")
    change(owner_engine, "UPDATE audit_events SET action = 'x' WHERE event_id = :id", id=logged[300])
    change(owner_engine, "UPDATE log_tiles SET entries[:at] = :other WHERE number = 2", at=701 - 511, other=logged[700])
    hash_anew(worker_services)
    with transaction(worker_services) as tx:
        root = merkle.root(704, tiles.reader(tx, 1))
    signed = notes.sign(notes.Checkpoint(ORIGIN, 704, root).text, ORIGIN, KEY)
    worker_services.ledger.put(checkpoints.checkpoint_key(1, 704), signed.encode())
    assert faults(worker_services) == [
        f"{ORIGIN}: leaves 0 to 400 are not what was signed for size 401",
        f"{ORIGIN}: leaves 401 to 701 are not what was signed for size 702",
    ]


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE logs SET size = 0 WHERE log = 1"], "0 leaves are stored where 401 were logged"),
        (["UPDATE logs SET size = 0 WHERE log = 1", "DELETE FROM checkpoints WHERE log = 1"], NO_END),
        (["UPDATE logs SET size = 401 WHERE log = 1", "DELETE FROM checkpoints WHERE log = 1 AND size > 401"], NO_END),
        (["DELETE FROM logs WHERE log = 1", "DELETE FROM checkpoints WHERE log = 1"], NO_END),
    ],
)
def test_a_former_log_is_verified_whatever_its_row_says(
    worker_services: Services, logged: list[str], owner_engine: Engine, statements: list[str], said: str
) -> None:
    make_events(worker_services, 1)
    advance(worker_services, OTHER)
    assert faults(worker_services) == []
    for statement in statements:
        change(owner_engine, statement)
    found = faults(worker_services)
    assert said in "\n".join(found)
    assert f"event {logged[500]} is neither logged nor waits for it" in found


def test_how_far_the_bucket_knows_each_log_is_told(
    worker_services: Services, logged: list[str], owner_engine: Engine
) -> None:
    make_events(worker_services, 1)
    advance(worker_services, OTHER)
    next_log = {"log": f"{BASE}/log/2", "leaves": 2, "signed": 2}
    for statement, former in (
        ("UPDATE logs SET size = 401 WHERE log = 1", {"log": ORIGIN, "leaves": 401, "signed": 704}),
        ("DELETE FROM logs WHERE log = 1", {"log": "log/1", "leaves": 0, "signed": 704}),
    ):
        change(owner_engine, statement)
        with worker_services.controller.transaction(WORKER, NOW, read_only=True) as tx:
            assert verification.sizes(tx, worker_services.ledger) == [former, next_log]


def test_a_leaf_changed_with_its_event_lies_between_two_checkpoints(
    worker_services: Services, logged: list[str], owner_engine: Engine
) -> None:
    change(owner_engine, "UPDATE audit_events SET action = 'x' WHERE event_id = :id", id=logged[500])
    said = faults(worker_services)
    change(owner_engine, FORGE, at=(500 - 256) * 32 + 1)
    assert faults(worker_services) == [
        *said,
        f"{ORIGIN}: leaves 401 to 701 are not what was signed for size 702",
        f"{ORIGIN}: leaves 702 to 703 are not what was signed for size 704",
        f"{ORIGIN}: tile 1 of level 0 is not that of the level above",
    ]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE log_tiles SET entries = array_reverse(entries) WHERE level = 0 AND number = 2", "index 512: "),
        ("UPDATE log_tiles SET hashes = sha256('x') WHERE level = 1", "tile 0 of level 0 is not that of the level above"),
        ("DELETE FROM log_tiles WHERE level = 1", "lacks hashes 0 to 0 of level 1"),
        ("DELETE FROM log_tiles WHERE level = 0 AND number = 2", "512 leaves are stored where 704 were logged"),
        ("UPDATE logs SET size = 702", "702 leaves are stored where 704 were logged"),
        ("DELETE FROM logs", "is neither logged"),
        ("UPDATE checkpoints SET note = replace(note, '704', '703') WHERE size = 704", "not that of the key over its text"),
        ("UPDATE logs SET size = 702", "bucket knows more of the log than this database"),
        ("DELETE FROM logs", "bucket knows more of the log than this database"),
    ],
)
def test_a_changed_log_is_found(
    worker_services: Services, logged: list[str], owner_engine: Engine, statement: str, said: str
) -> None:
    change(owner_engine, statement)
    assert said in "\n".join(faults(worker_services))


def test_another_checkpoint_in_the_bucket_is_found(worker_services: Services, logged: list[str]) -> None:
    worker_services.ledger.put(checkpoints.checkpoint_key(1, 704), b"another")
    assert faults(worker_services) == [f"{ORIGIN}: the ledger's bucket holds another checkpoint of size 704"]
    worker_services.ledger.delete_below(checkpoints.checkpoint_key(1, 704))
    assert faults(worker_services) == [f"{ORIGIN}: the ledger's bucket lacks the checkpoint of size 704"]


def test_what_only_the_bucket_knows_counts_too(worker_services: Services, logged: list[str], owner_engine: Engine) -> None:
    change(owner_engine, "DELETE FROM checkpoints WHERE size > 401")
    assert faults(worker_services) == []
    change(owner_engine, FORGE, at=(500 - 256) * 32 + 1)
    said = faults(worker_services)
    assert f"{ORIGIN}: leaves 401 to 701 are not what was signed for size 702" in said


def test_a_log_of_another_key_is_not_ours(worker_services: Services, logged: list[str]) -> None:
    of_log, of_certificate = "the checkpoint is of another log", "the certificate was signed with another key"
    assert [of_log in fault or of_certificate in fault for fault in faults(worker_services, STRANGER)] == [True] * 4


def _changed(lines: list[bytes]) -> None:
    lines[500] = lines[500].replace(b"account.read", b"account.reed")


def _dropped(lines: list[bytes]) -> None:
    del lines[500]


def _added(lines: list[bytes]) -> None:
    lines.insert(500, lines[500])


def _reordered(lines: list[bytes]) -> None:
    lines[500], lines[501] = lines[501], lines[500]


def _cut(lines: list[bytes]) -> None:
    del lines[-1]


def _of_another_log(lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b"log/1", b"log/2")


def _without_checkpoint(lines: list[bytes]) -> None:
    lines[:] = [line for line in lines if not line.startswith(b'{"checkpoint"')]


def _empty(lines: list[bytes]) -> None:
    lines.clear()


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (_changed, "leaves 401 to 701 are not what was signed for size 702"),
        (_dropped, "leaves 401 to 700 are not what was signed for size 702"),
        (_added, "leaves 401 to 702 are not what was signed for size 702"),
        (_reordered, "leaves 401 to 701 are not what was signed for size 702"),
        (_cut, "leaves 702 to 703 stand under no checkpoint"),
        (_of_another_log, "stands among leaves of"),
        (_without_checkpoint, "leaves 0 to 703 stand under no checkpoint"),
        (_empty, "holds no checkpoint"),
    ],
)
def test_a_changed_file_is_found(
    worker_services: Services, logged: list[str], forge: Callable[[list[bytes]], None], said: str
) -> None:
    lines = exported(worker_services)
    forge(lines)
    with pytest.raises(ProofError, match=said):
        verification.verify_lines(lines, vkeys(worker_services))


def test_a_file_of_several_logs_is_verified_whole(worker_services: Services, logged: list[str]) -> None:
    make_events(worker_services, 3)
    advance(worker_services, OTHER)
    lines = exported(worker_services)
    assert verification.verify_lines(lines, vkeys(worker_services)) == {ORIGIN: 704, f"{BASE}/log/2": 4}
    with pytest.raises(ProofError, match="another log"):
        verification.verify_lines(lines, vkeys(worker_services).splitlines()[0])
    assert newest(worker_services).startswith(f"{BASE}/log/2\n4\n")
