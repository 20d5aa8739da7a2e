"""The erasure of one person reaches the archives that hold them."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials
from cloudpriv.platform.errors import GoneError
from cloudpriv.retention import holds
from cloudpriv.rights import export, leases
from cloudpriv.rights.erasure import erase_person
from cloudpriv.rights.leases import LeaseLostError
from tests.exports import ask, make_session, open_archive, run, stored
from tests.factories import NOW, make_account, make_device, make_person, transaction


def test_an_archive_that_holds_an_erased_person_is_gone(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    person = make_person(services, account_id, name="canary").row
    run(services, export_id := ask(services, account_id))
    assert b"canary" in open_archive(services, export_id).read("people.json")
    with transaction(services) as tx:
        erase_person(tx, account_id, person.person_id, 1)
    with pytest.raises(GoneError):
        open_archive(services, export_id)
    assert export.expire(worker_services.controller, worker_services.exports, lambda: NOW) == 1
    assert stored(services, account_id) == []


def test_an_archive_in_the_making_begins_anew_without_the_person(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    person = make_person(services, account_id, name="canary").row
    export_id = ask(services, account_id)
    lease = leases.claim(worker_services.controller, export_id, lambda: NOW)
    assert lease is not None
    with transaction(services) as tx:
        erase_person(tx, account_id, person.person_id, 1)
    with pytest.raises(LeaseLostError):
        lease.confirm()
    run(services, export_id)
    assert b"canary" not in open_archive(services, export_id).read("people.json")


def test_an_archive_does_not_show_a_person_whom_only_a_hold_keeps(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person = make_person(services, account_id, name="canary").row
    with transaction(services) as tx:
        holds.place(tx, account_id, "account", authority="Example District Court", reference="T 1")
        assert not erase_person(tx, account_id, person.person_id, 1)
    run(services, export_id := ask(services, account_id))
    assert open_archive(services, export_id).read("people.json") == b"[]\n"


@pytest.mark.parametrize(
    ("scope", "kept"),
    [
        ({"scope": "account"}, {"identity", "credentials", "named"}),
        ({"scope": "category", "category": "identification"}, {"identity", "named"}),
        ({"scope": "category", "category": "credentials"}, {"credentials", "named"}),
        ({"scope": "category", "category": "traffic_metadata"}, {"named"}),
        ({"scope": "category", "category": "account"}, {"named"}),
        ({"scope": "category", "category": "connected_devices"}, set()),
    ],
)
def test_of_an_erased_person_stays_what_a_hold_keeps(
    services: Services, owner_engine: Engine, scope: dict[str, Any], kept: set[str]
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    make_session(services, account_id, make_device(services, account_id).row.device_id, person_id=person_id)
    with transaction(services) as tx:
        credentials.set_credentials(tx, account_id, person_id, "not a hash", None)
        holds.place(tx, account_id, **scope, authority="Example District Court", reference="T 1")
    with transaction(services) as tx:
        assert erase_person(tx, account_id, person_id, 1) == (not kept)
    looks = {
        "identity": "SELECT count(*) FROM people WHERE identity <> ''",
        "credentials": "SELECT count(*) FROM credentials WHERE password_hash <> ''",
        "named": "SELECT count(*) FROM traffic WHERE person_id IS NOT NULL",
    }
    with owner_engine.connect() as connection:
        assert {name for name, look in looks.items() if connection.scalar(text(look))} == kept
        assert connection.scalar(text("SELECT count(*) FROM traffic")) == 1
