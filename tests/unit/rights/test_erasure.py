"""The erasure of one person reaches the archives that hold them."""

import pytest

from cloudpriv.bootstrap import Services
from cloudpriv.platform.errors import GoneError
from cloudpriv.rights import export, leases
from cloudpriv.rights.erasure import erase_person
from cloudpriv.rights.leases import LeaseLostError
from tests.exports import ask, open_archive, run, stored
from tests.factories import NOW, make_account, make_person, transaction


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
