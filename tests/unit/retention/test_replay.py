"""After a restore: what the ledger knows as erased is erased again, once and wholly, and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.audit import checkpoints, log
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.ids import new_id
from cloudpriv.retention import erase, holds, ledger, replay
from cloudpriv.retention.lease import LEASE
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.replay import InUseError, State
from tests.exports import stored
from tests.factories import BACKEND, NOW, transaction
from tests.purges import Killed, Moments, checksums_of_others, close, die, make_full_account, rows_of
from tests.purges import ledger as table
from tests.stack import every_row

ERASED = NOW + timedelta(hours=1)  # NOW is when everything was recorded that came back
AFTER = NOW + timedelta(days=3)
ORIGIN = "127.0.0.1:8080"


def erased_once(services: Services, account_id: UUID, erased_at: datetime = ERASED) -> Entry:
    """Have the ledger's bucket tell that the account was erased after the backup that brought it back."""
    counts = {"accounts": 1, "traffic": 70}
    entry = Entry(erase.hash_of(account_id), "talk2m", "policy", "P7Y after last_traffic", "2023-03-30", counts, erased_at)
    ledger.store(services.ledger, entry)
    return entry


def look(services: Services) -> State:
    return replay.look(services.controller, services.ledger, lambda: AFTER)


def run(services: Services, now: datetime = AFTER) -> None:
    run_with(services, Moments(0, die, now))


def run_with(services: Services, clock: Moments, *, even_in_use: bool = False) -> None:
    options = (services.controller, services.stores, services.policy, clock)
    replay.carry_out(*options, actor=OPERATOR, origin_base=ORIGIN, even_in_use=even_in_use)


def needs_nothing(services: Services) -> bool:
    return not look(services).needs_replay


def test_an_erased_account_that_came_back_is_erased_again(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id, other = make_full_account(services), make_full_account(services)
    others = checksums_of_others(owner_engine, account_id)
    entry = erased_once(services, account_id)
    run(worker_services)
    assert rows_of(owner_engine, account_id) == {}
    assert (stored(services, account_id), len(stored(services, other))) == ([], 1)
    assert checksums_of_others(owner_engine, account_id) == others
    [row] = table(services)
    assert (row.account_hash, row.erased_at, row.counts, row.trigger) == (entry.account_hash, ERASED, entry.counts, "policy")
    named = {name for name, rows in every_row(owner_engine).items() if any(str(account_id) in row for row in rows)}
    assert named == {"audit_events"}
    assert needs_nothing(services)


def test_the_second_erasure_has_a_certificate_of_its_own_that_says_so(services: Services, worker_services: Services,
                                                                      owner_engine: Engine) -> None:  # fmt: skip
    erased_once(services, make_full_account(services))
    run(worker_services)
    run(worker_services)
    with owner_engine.connect() as connection:
        [body] = connection.execute(text("SELECT convert_from(body, 'UTF8')::jsonb FROM certificates")).scalars()
    assert (body["trigger"], body["rule"], body["erased"]["tables"]["accounts"]) == ("replay", "P7Y after last_traffic", 1)


def test_a_dry_run_tells_what_came_back_and_changes_nothing(services: Services, owner_engine: Engine) -> None:
    account_id = make_full_account(services)
    erased_once(services, account_id)
    erased_once(services, new_id())
    before = every_row(owner_engine)
    found = look(services)
    assert every_row(owner_engine) == before
    assert (found.missing, found.unfinished, found.unwritten, found.log_behind) == (2, 0, 0, False)
    [returned] = found.returned
    assert (returned.account_id, returned.status, returned.erased_at) == (account_id, "active", ERASED)
    assert returned.rows == sum(rows_of(owner_engine, account_id).values())


def test_a_plan_names_what_would_be_erased_and_nothing_else(services: Services, worker_services: Services) -> None:
    erased_once(services, make_full_account(services))
    first = look(services)
    assert look(services).plan == first.plan
    with pytest.raises(Killed):
        run_with(worker_services, Moments(3, die))
    begun = look(services)
    assert (begun.missing, begun.unfinished, begun.plan == first.plan) == (0, 1, False)
    run(worker_services, AFTER + LEASE)
    done = look(services)
    assert (done.unfinished, done.plan) == (0, begun.plan), "carrying on shows nothing new"
    others = []
    for _ in range(2):
        entry = erased_once(services, new_id())
        others.append(look(services).plan)
        services.ledger.delete_below(entry.key)
    assert len({begun.plan, first.plan, *others}) == 4, "one entry missing is not the other"


def test_an_erasure_of_an_account_that_did_not_come_back_is_only_entered(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    entry = erased_once(services, new_id())
    make_full_account(services)
    others = checksums_of_others(owner_engine)
    run(worker_services)
    assert [row.account_hash for row in table(services)] == [entry.account_hash]
    assert checksums_of_others(owner_engine) == others
    assert needs_nothing(services)


@pytest.mark.parametrize("status", ["active", "restricted", "closing", "purging"])
def test_an_account_is_erased_again_in_whatever_state_it_came_back(
    services: Services, worker_services: Services, owner_engine: Engine, status: str
) -> None:
    account_id = make_full_account(services)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})
    erased_once(services, account_id)
    run(worker_services)
    assert rows_of(owner_engine, account_id) == {}


@pytest.mark.parametrize("step", ["keys", "objects", "rows", "verify"])
@pytest.mark.parametrize("status", ["waiting", "planned", "running"])
def test_a_purge_that_came_back_open_is_carried_on_as_a_replay(
    services: Services, worker_services: Services, owner_engine: Engine, status: str, step: str
) -> None:
    account_id = make_full_account(services)
    close(services, account_id)
    with owner_engine.begin() as connection:
        statement = "UPDATE purges SET trigger = 'policy', status = :status, step = :step, lease_until = :until, "
        values = {"status": status, "step": step, "until": AFTER + LEASE}
        connection.execute(text(statement + "lease_owner = gen_random_uuid()"), values)
    if step in ("rows", "verify"):
        erase.erase_objects(services.exports, account_id)  # which the restore of a database does not bring back
    erased_once(services, account_id)
    run(worker_services)
    assert rows_of(owner_engine, account_id) == {}
    assert needs_nothing(services)


def test_a_hold_that_came_back_was_over_when_the_account_was_erased(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE holds SET released_at = NULL, released_by = NULL"))
    with transaction(services) as tx:
        assert holds.active(tx, account_id)
    erased_once(services, account_id)
    run(worker_services)
    assert rows_of(owner_engine, account_id) == {}


def test_a_replay_stopped_anywhere_is_finished_by_the_next(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    accounts = [make_full_account(services) for _ in range(2)]
    bystander = checksums_of_others(owner_engine, *accounts, *(survivors := [make_full_account(services)]))
    others = checksums_of_others(owner_engine, *accounts)
    for number, account_id in enumerate(accounts):
        erased_once(services, account_id, ERASED + timedelta(seconds=number))
    now, moment = AFTER, 1
    while True:
        clock = Moments(moment, die, now)
        try:
            run_with(worker_services, clock)
        except Killed:
            left = any(rows_of(owner_engine, account_id) for account_id in accounts)
            assert needs_nothing(services) != left, "the start of a server is refused until all is erased"
            moment, now = moment + 1, now + LEASE
            continue
        break
    assert moment > 8, "it was stopped at many places"
    assert needs_nothing(services)
    assert [rows_of(owner_engine, account_id) for account_id in accounts] == [{}, {}]
    assert checksums_of_others(owner_engine, *accounts) == others
    assert bystander == checksums_of_others(owner_engine, *accounts, *survivors)
    assert sorted(row.account_hash for row in table(services)) == sorted(map(erase.hash_of, accounts))
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM certificates")) == 2


def test_two_replays_at_once_do_nothing_twice(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    accounts = [make_full_account(services) for _ in range(3)]
    for account_id in accounts:
        erased_once(services, account_id)
    start = Barrier(2)

    def at_once(_: int) -> None:
        start.wait()
        run(worker_services)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(at_once, range(2)))
    run(worker_services)
    assert needs_nothing(services)
    assert len(table(services)) == 3
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM certificates")) == 3
        erased = text("SELECT account_id, count(*) FROM audit_events WHERE action = 'account.erased' GROUP BY account_id")
        assert sorted(connection.execute(erased).all()) == sorted((account_id, 1) for account_id in accounts)


def test_what_the_bucket_lost_is_written_again_from_the_table(services: Services, worker_services: Services) -> None:
    entries = [erased_once(services, new_id(), ERASED + timedelta(seconds=n)) for n in range(5)]
    run(worker_services)
    for lost in (entries[0], entries[3]):
        services.ledger.delete_below(lost.key)
    assert look(services).unwritten == 2
    run(worker_services)
    assert [ledger.read(services.ledger, entry.key) for entry in entries] == entries
    assert needs_nothing(services)


def test_a_whole_table_is_written_into_an_empty_bucket(services: Services, worker_services: Services) -> None:
    entries = [erased_once(services, new_id()) for _ in range(4)]
    run(worker_services)
    services.ledger.delete_below(ledger.PREFIX)
    run(worker_services)
    assert sorted(key for page in ledger.pages(services.ledger) for key in page) == sorted(entry.key for entry in entries)


def test_an_account_erased_twice_over_two_restores_has_one_entry(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    """Each replay leaves an object of its own beside the first, and a further restore finds both missing."""
    account_id = make_full_account(services)
    erased_once(services, account_id)
    erased_once(services, account_id, ERASED + timedelta(days=1))
    assert [each.erased_at for each in look(services).returned] == [ERASED]
    run(worker_services)
    [row] = table(services)
    assert row.erased_at == ERASED
    assert rows_of(owner_engine, account_id) == {}
    assert needs_nothing(services)


def test_a_log_that_the_bucket_knows_more_of_is_followed_by_another_once(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    make_full_account(services)
    assert worker_services.proof_key is not None
    advance = (worker_services.controller, worker_services.ledger, worker_services.proof_key, ORIGIN, lambda: AFTER)
    log.advance(*advance)
    with owner_engine.begin() as connection:
        size = connection.scalar(text("UPDATE logs SET size = size - 1 RETURNING size + 1"))
        connection.execute(text("DELETE FROM checkpoints"))
    services.ledger.put(checkpoints.checkpoint_key(1, size or 0), b"signed before the restore")
    assert look(services).log_behind
    run(worker_services)
    run(worker_services)
    assert needs_nothing(services)
    with owner_engine.connect() as connection:
        assert list(connection.execute(text("SELECT origin FROM logs ORDER BY log")).scalars()) == [
            f"{ORIGIN}/log/1",
            f"{ORIGIN}/log/2",
        ]


def test_more_than_a_page_of_entries_is_taken_in(services: Services, worker_services: Services,
                                                  owner_engine: Engine) -> None:  # fmt: skip
    account_id = make_full_account(services)
    entry = erased_once(services, account_id)
    known, content = entry.account_hash.hex(), services.ledger.get(entry.key).decode()

    def put(number: int) -> None:
        other = f"{number:064x}"
        services.ledger.put(entry.key.replace(known, other), content.replace(known, other).encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(ledger.PAGE)))
    run(worker_services)
    assert len(table(services)) == ledger.PAGE + 1
    assert rows_of(owner_engine, account_id) == {}
    assert needs_nothing(services)


def test_an_unfinished_replay_is_seen_at_the_start_of_a_server(services: Services, worker_services: Services) -> None:
    erased_once(services, make_full_account(services))
    with pytest.raises(Killed):
        run_with(worker_services, Moments(3, die))
    with transaction(services) as tx:
        assert not ledger.ahead_of(tx, services.ledger), "its entry is in the table already"
        assert replay.is_unfinished(tx)


def use(services: Services, account_id: UUID) -> None:
    """Have a backend read the account after its erasure."""
    with transaction(services, BACKEND, AFTER) as tx:
        accounts.read_account(tx, account_id)


def test_an_account_that_was_used_after_its_erasure_is_not_erased_unasked(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    """A copy of this installation that writes into the same bucket has erased it, not this one."""
    living, returned = make_full_account(services), make_full_account(services)
    for account_id in (living, returned):
        erased_once(services, account_id)
    use(services, living)
    with transaction(services, now=AFTER) as tx:
        accounts.read_account(tx, returned)  # an operator looks at what was restored
    before = every_row(owner_engine)
    assert {each.account_id: each.is_in_use for each in look(services).returned} == {living: True, returned: False}
    with pytest.raises(InUseError, match=str(living)):
        run(worker_services)
    assert every_row(owner_engine) == before
    run_with(worker_services, Moments(0, die, AFTER), even_in_use=True)
    assert (rows_of(owner_engine, living), rows_of(owner_engine, returned)) == ({}, {})
