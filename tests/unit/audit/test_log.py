"""The log: what enters it, what is signed of it, and what stops it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from cloudpriv.audit import certificates, checkpoints, events, log, merkle, notes, tiles, verification
from cloudpriv.audit.checkpoints import BehindError, LostError, SplitViewError
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.ids import new_id
from tests.factories import NOW, make_account, transaction
from tests.proofs import BASE, KEY, advance, change, hash_anew, make_certificate, make_events, newest, vkeys
from tests.purges import Killed, Moments, die
from tests.stack import TestDatabase, fresh_database

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
OF_THE_LOG = ("audit_events", "certificates", "checkpoints", "log_pending", "log_tiles", "logs")


def head(services: Services) -> notes.Checkpoint:
    """The newest checkpoint, its signature verified."""
    return notes.open_checkpoint(newest(services), vkeys(services))


def faults(services: Services) -> list[str]:
    """What is not as it was signed."""
    with services.controller.transaction(WORKER, NOW, read_only=True) as tx:
        return list(verification.faults(tx, services.ledger))


def entries_of(owner: Engine) -> list[str]:
    """What the leaves of all logs stand for, in order."""
    query = "SELECT e.entry::text FROM log_tiles, unnest(entries) WITH ORDINALITY AS e (entry, at) ORDER BY log, number, at"
    with owner.connect() as connection:
        return list(connection.execute(text(query)).scalars())


def published(owner: Engine) -> int:
    """How many checkpoints are served."""
    with owner.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM checkpoints")).scalar_one())


def back_up(owner: Engine) -> None:
    """Keep what the log is made of, as a backup of the database does."""
    with owner.begin() as connection:
        for table in OF_THE_LOG:
            connection.execute(text(f"CREATE TABLE backup_{table} AS TABLE {table}"))


def restore(owner: Engine) -> None:
    """Put the backup in place of what came after it."""
    with owner.begin() as connection:
        for table in OF_THE_LOG:
            connection.execute(text(f"TRUNCATE {table}"))
            connection.execute(text(f"INSERT INTO {table} TABLE backup_{table}"))


def test_every_way_of_recording_an_event_enters_it_once(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        accounts.read_account(tx, account_id)
    with pytest.raises(NotFoundError), transaction(services) as tx:
        accounts.read_account(tx, new_id())
    assert advance(worker_services) == 2
    assert head(services).size == 3
    assert faults(worker_services) == []


def test_what_is_rolled_back_never_enters(worker_services: Services) -> None:
    def die_after(action: str) -> None:
        with transaction(worker_services) as tx:
            events.record(tx, action)
            tx.end()
            die()

    with pytest.raises(Killed):
        die_after("account.read")
    assert advance(worker_services) == 0


def test_entries_are_logged_once_in_order_and_in_one_tree(worker_services: Services, owner_engine: Engine) -> None:
    made = []
    for number in (1, 254, 3, 300):
        made += make_events(worker_services, number)
        assert advance(worker_services) == number
    assert advance(worker_services) == 0
    assert entries_of(owner_engine)[1:] == [str(event) for event in made]
    assert head(worker_services).size == 559
    assert faults(worker_services) == []


def test_checkpoints_are_consistent_with_each_other(worker_services: Services, owner_engine: Engine) -> None:
    heads = []
    for number in (3, 300, 1):
        make_events(worker_services, number)
        advance(worker_services)
        heads.append(head(worker_services))
    with transaction(worker_services) as tx:
        read = tiles.reader(tx, 1)
        for old, new in ((0, 1), (1, 2), (0, 2)):
            one, other = heads[old], heads[new]
            path = merkle.consistency_proof(one.size, other.size, read)
            merkle.verify_consistency(one.size, other.size, path, one.root, other.root)


def test_a_checkpoint_lies_in_the_ledgers_bucket_before_it_is_served(worker_services: Services) -> None:
    make_events(worker_services, 4)
    advance(worker_services)
    assert worker_services.ledger.get(checkpoints.checkpoint_key(1, 5)).decode() == newest(worker_services)
    assert json.loads(worker_services.ledger.get(checkpoints.LATEST)) == {"log": 1, "size": 5}


def test_the_first_entry_tells_of_the_logs_beginning(worker_services: Services, owner_engine: Engine) -> None:
    make_events(worker_services, 1)
    advance(worker_services)
    with owner_engine.connect() as connection:
        query = text("SELECT action FROM audit_events WHERE event_id = :id")
        assert connection.scalar(query, {"id": entries_of(owner_engine)[0]}) == "log.begin"


def test_any_number_of_callers_log_each_entry_once(worker_services: Services, owner_engine: Engine) -> None:
    def work(number: int) -> None:
        make_events(worker_services, 20)
        advance(worker_services)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))
    entries = entries_of(owner_engine)
    assert len(entries) == len(set(entries)) == head(worker_services).size == 241
    assert faults(worker_services) == []


def test_a_caller_that_dies_before_it_signs_is_made_up_for(worker_services: Services) -> None:
    make_events(worker_services, 3)
    dying = Moments(2, die)
    with pytest.raises(Killed):
        log.advance(worker_services.controller, worker_services.ledger, KEY, BASE, dying)
    with transaction(worker_services) as tx:
        assert checkpoints.newest_checkpoint(tx) is None
    assert advance(worker_services) == 0
    assert head(worker_services).size == 4


def test_a_checkpoint_that_only_the_bucket_knows_is_taken_over(worker_services: Services, owner_engine: Engine) -> None:
    make_events(worker_services, 3)
    advance(worker_services)
    signed = newest(worker_services)
    change(owner_engine, "DELETE FROM checkpoints")
    assert advance(worker_services) == 0
    assert newest(worker_services) == signed
    change(owner_engine, "DELETE FROM checkpoints")
    make_events(worker_services, 3)
    advance(worker_services)
    assert published(owner_engine) == 2
    assert faults(worker_services) == []


def test_another_tree_of_one_size_is_never_signed(worker_services: Services, owner_engine: Engine) -> None:
    make_events(worker_services, 2)
    advance(worker_services)
    signed = worker_services.ledger.get(checkpoints.checkpoint_key(1, 3))
    change(owner_engine, "DELETE FROM checkpoints")
    change(owner_engine, "UPDATE log_tiles SET hashes = sha256('x') || substr(hashes, 33)")
    with pytest.raises(SplitViewError):
        advance(worker_services)
    assert worker_services.ledger.get(checkpoints.checkpoint_key(1, 3)) == signed
    make_events(worker_services, 2)
    with pytest.raises(SplitViewError):
        advance(worker_services)
    assert published(owner_engine) == 0
    assert list(worker_services.ledger.keys_after("log/1/", "log/1/")) == [checkpoints.checkpoint_key(1, 3)]


def test_a_database_beside_anothers_log_signs_nothing(worker_services: Services, database: TestDatabase) -> None:
    make_events(worker_services, 2)
    advance(worker_services)
    with fresh_database(database.stack) as other:
        beside = other.services("worker")
        make_events(beside, 5)
        with pytest.raises(BehindError):
            log.advance(beside.controller, worker_services.ledger, KEY, BASE, lambda: NOW)
        beside.controller.engine.dispose()


def test_a_restored_database_signs_nothing_until_a_new_log_is_begun(worker_services: Services, owner_engine: Engine) -> None:
    make_events(worker_services, 300)
    advance(worker_services)
    kept = newest(worker_services)
    make_events(worker_services, 2)
    with pytest.raises(Killed):
        log.advance(worker_services.controller, worker_services.ledger, KEY, BASE, Moments(2, die))
    back_up(owner_engine)
    advance(worker_services)
    certificate_id = make_certificate(worker_services)
    advance(worker_services)
    restore(owner_engine)
    make_events(worker_services, 50)
    with pytest.raises(BehindError):
        advance(worker_services)
    assert newest(worker_services) == kept
    with transaction(worker_services) as tx:
        assert log.is_behind(tx, worker_services.ledger)
        assert log.begin_anew(tx, worker_services.ledger, KEY, BASE) == 2
    again = advance(worker_services)
    assert again == 2 + 50  # what had been appended without being published is proved in the new log
    assert (head(worker_services).origin, head(worker_services).size) == (f"{BASE}/log/2", 53)
    with transaction(worker_services) as tx:
        assert not log.is_behind(tx, worker_services.ledger)
        with pytest.raises(NotFoundError):
            certificates.document(tx, certificate_id)
    assert faults(worker_services) == []


def test_an_empty_database_is_behind_every_log(worker_services: Services, owner_engine: Engine) -> None:
    back_up(owner_engine)
    make_events(worker_services, 1)
    advance(worker_services)
    restore(owner_engine)
    with transaction(worker_services) as tx:
        assert log.is_behind(tx, worker_services.ledger)
        assert log.begin_anew(tx, worker_services.ledger, KEY, BASE) == 2
    restore(owner_engine)
    with transaction(worker_services) as tx:
        assert log.begin_anew(tx, worker_services.ledger, KEY, BASE) == 2
    advance(worker_services)
    restore(owner_engine)
    with transaction(worker_services) as tx:
        assert log.begin_anew(tx, worker_services.ledger, KEY, BASE) == 3


def test_another_key_begins_another_log(worker_services: Services, owner_engine: Engine) -> None:
    make_events(worker_services, 3)
    advance(worker_services)
    make_events(worker_services, 2)
    with pytest.raises(Killed):
        log.advance(worker_services.controller, worker_services.ledger, KEY, BASE, Moments(2, die))
    other = Ed25519PrivateKey.generate()
    assert advance(worker_services, other) == 2
    assert (head(worker_services).origin, head(worker_services).size) == (f"{BASE}/log/2", 3)
    assert [line.partition("+")[0] for line in vkeys(worker_services).splitlines()] == [f"{BASE}/log/2", f"{BASE}/log/1"]
    assert faults(worker_services) == []


def test_a_log_of_another_key_begins_only_after_all_that_was_signed(worker_services: Services, owner_engine: Engine) -> None:
    make_events(worker_services, 3)
    advance(worker_services)
    [changed, _] = make_events(worker_services, 2)
    advance(worker_services)
    change(owner_engine, "DELETE FROM checkpoints WHERE size = 6")
    change(owner_engine, "UPDATE logs SET vkey = :other", other=notes.verifier_key(f"{BASE}/log/1", OTHER).text)
    with pytest.raises(SplitViewError):  # not of the key that the bucket's are signed with
        advance(worker_services)
    change(owner_engine, "UPDATE logs SET vkey = :own", own=notes.verifier_key(f"{BASE}/log/1", KEY).text)
    make_events(worker_services, 1)
    assert advance(worker_services, OTHER) == 1  # what the bucket alone knew as signed stays where it was
    assert published(owner_engine) == 3
    assert faults(worker_services) == []
    change(owner_engine, "UPDATE audit_events SET action = 'x' WHERE event_id = :id", id=changed)
    assert faults(worker_services) == [f"{BASE}/log/1 index 4: {changed} is not what was logged"]


def test_an_event_that_is_gone_before_it_is_logged_is_reported_and_stops_nothing(
    worker_services: Services, owner_engine: Engine
) -> None:
    gone = make_events(worker_services, 3)[1]
    change(owner_engine, "DELETE FROM audit_events WHERE event_id = :id", id=gone)
    with capture_logs() as said:
        assert advance(worker_services) == 2
        assert advance(worker_services) == 0
    line = {"event": "log_entry_missing", "entry": str(gone), "log_level": "error"}
    assert said == [line, line]
    assert faults(worker_services) == [f"event {gone} waits to be logged and is not stored"]


def test_more_pending_ids_of_nothing_than_a_batch_stop_nothing(services: Services, worker_services: Services) -> None:
    bogus = "INSERT INTO log_pending SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid "
    with transaction(services) as tx:  # the API's role may
        tx.connection.execute(text(bogus + "FROM generate_series(1, :n) n"), {"n": log.BATCH + 1})
    make_events(worker_services, 3)
    with capture_logs() as said:
        assert advance(worker_services) == 3
    assert len(said) == log.REPORTED
    assert head(worker_services).size == 4


def test_no_tree_is_signed_that_does_not_begin_with_the_one_before(worker_services: Services, owner_engine: Engine) -> None:
    [first, *_] = make_events(worker_services, 300)
    advance(worker_services)
    signed = newest(worker_services)
    change(owner_engine, "UPDATE audit_events SET action = 'x' WHERE event_id = :id", id=first)
    hash_anew(worker_services)
    make_events(worker_services, 1)
    for statement in (None, "UPDATE checkpoints SET note = 'x'", "DELETE FROM checkpoints"):
        if statement is not None:
            change(owner_engine, statement)
        with pytest.raises(SplitViewError):
            advance(worker_services)
    assert list(worker_services.ledger.keys_after("log/1/", "log/1/")) == [checkpoints.checkpoint_key(1, 301)]
    assert worker_services.ledger.get(checkpoints.checkpoint_key(1, 301)).decode() == signed


def test_a_tree_whose_upper_tiles_are_not_of_the_lower_ones_is_not_signed(
    worker_services: Services, owner_engine: Engine
) -> None:
    make_events(worker_services, 300)
    advance(worker_services)
    make_events(worker_services, 300)
    with pytest.raises(Killed):
        log.advance(worker_services.controller, worker_services.ledger, KEY, BASE, Moments(2, die))
    # The former root is of the hashes of tile 1 itself, the next one of what level 1 says of it.
    change(owner_engine, "UPDATE log_tiles SET hashes = substr(hashes, 1, 32) || sha256('x') WHERE level = 1")
    with pytest.raises(SplitViewError):
        advance(worker_services)
    assert published(owner_engine) == 1


def test_a_checkpoint_that_differs_between_database_and_bucket_stops_the_log(
    worker_services: Services, owner_engine: Engine
) -> None:
    make_events(worker_services, 2)
    advance(worker_services)
    signed = worker_services.ledger.get(checkpoints.checkpoint_key(1, 3))
    make_events(worker_services, 1)
    worker_services.ledger.delete_below(checkpoints.checkpoint_key(1, 3))
    with pytest.raises(LostError):
        advance(worker_services)
    worker_services.ledger.put(checkpoints.checkpoint_key(1, 3), b"another")
    with pytest.raises(SplitViewError):
        advance(worker_services)
    worker_services.ledger.put(checkpoints.checkpoint_key(1, 3), signed)
    change(owner_engine, "UPDATE checkpoints SET note = 'another'")
    with pytest.raises(SplitViewError):
        advance(worker_services)
    change(owner_engine, "UPDATE checkpoints SET note = :note", note=signed.decode())
    advance(worker_services)
    assert head(worker_services).size == 4


@pytest.mark.parametrize(
    ("issuer", "base"),
    [("https://privacy.example.com", "privacy.example.com"), ("https://example.com/privacy/", "example.com/privacy"),
     ("http://127.0.0.1:8080", "127.0.0.1:8080")],
)  # fmt: skip
def test_an_origin_is_a_url_without_its_scheme(issuer: str, base: str) -> None:
    assert log.origin_base(issuer) == base
