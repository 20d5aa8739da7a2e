"""How far an export is, and that none waits for another."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.rights import leases, requests
from cloudpriv.rights.leases import Lease
from tests.exports import IDENTIFIED, ask, make_session, run
from tests.factories import NOW, make_account, make_device, transaction
from tests.unit.rights.test_export import Moments, run_with, state


def test_progress_is_told_in_percent_and_only_an_archive_that_is_stored_is_whole(services: Services) -> None:
    account_id = make_account(services).row.account_id
    device_id = make_device(services, account_id).row.device_id
    for number in range(20):
        make_session(services, account_id, device_id, number)
    export_id = ask(services, account_id)
    seen: list[int] = []
    clock = Moments(5, lambda: seen.append(state(services, export_id).progress))  # when all is written, before it is ready
    run_with(services, export_id, clock)
    assert seen == [99]
    assert state(services, export_id).progress == 100
    lease = Lease(services.controller, lambda: NOW, account_id, export_id, export_id, expected=3)
    for percent in (0, 33, 66, 99, 99):
        assert lease.progress == percent
        lease.wrote(1)


def test_an_attempt_begins_to_count_anew(services: Services, owner_engine: Engine) -> None:
    export_id = ask(services, make_account(services).row.account_id)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE exports SET progress = 50"))
    leases.claim(services.controller, export_id, lambda: NOW)
    assert state(services, export_id).progress == 0


def test_exports_are_made_side_by_side(services: Services) -> None:
    account_id = make_account(services).row.account_id
    slow = ask(services, account_id)
    assert leases.claim(services.controller, slow, lambda: NOW) is not None
    other = ask(services, make_account(services).row.account_id)
    run(services, other)
    assert (state(services, slow).status, state(services, other).status) == ("running", "ready")


@pytest.mark.parametrize("held_up", ["failed", "slow"])
def test_an_export_that_failed_or_is_slow_does_not_hold_up_a_new_one(services: Services, held_up: str) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
    lease = leases.claim(services.controller, known.answer.export_id, lambda: NOW)
    assert lease is not None
    later = NOW + timedelta(hours=1)
    if held_up == "failed":
        with transaction(services) as tx:
            leases.give_up(tx, lease.locked(tx), "internal")
    with transaction(services, now=later) as tx:
        again = requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
    assert again.answer.export_id != known.answer.export_id
    run(services, again.answer.export_id, later)
    assert state(services, again.answer.export_id).status == "ready"
    with transaction(services, now=later) as tx:
        assert requests.read_request(tx, again.row.request_id).row.status == "completed"
