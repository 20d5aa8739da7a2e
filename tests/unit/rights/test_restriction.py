"""Restriction of accounts and people: what their services refuse, what goes on, and what holders may still see."""

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials, devices, idempotency, people, traffic_reports
from cloudpriv.controller.idempotency import Answer
from cloudpriv.controller.traffic_reports import Span
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountClosingError, AccountRestrictedError, NotFoundError, PersonRestrictedError
from cloudpriv.platform.ids import new_id
from cloudpriv.rights import restriction
from tests.disclosed import disclose, holder
from tests.exports import make_session
from tests.factories import BACKEND, NOW, make_account, make_device, make_person, transaction
from tests.purges import close

Use = Callable[[Tx, UUID, UUID, UUID], object]
READS: dict[str, Use] = {
    "account": lambda tx, account, _, __: accounts.read_account(tx, account),
    "people": lambda tx, account, _, __: people.list_people(tx, account, after=None, limit=1),
    "person": lambda tx, account, person, __: people.read_person(tx, account, person),
    "devices": lambda tx, account, _, __: devices.list_devices(tx, account, after=None, limit=1),
    "device": lambda tx, account, _, device: devices.read_device(tx, account, device),
    "sessions": lambda tx, account, _, __: traffic_reports.list_sessions(tx, account, Span(), before=None, limit=1),
    "summary": lambda tx, account, _, __: traffic_reports.summarise(tx, account, Span()),
}
CHANGES: dict[str, Use] = {
    "account": lambda tx, account, _, __: accounts.change_account(tx, account, 2, {"account_name": "another"}),
    "add person": lambda tx, account, _, __: people.add_person(tx, account, "member", {"username": "sam"}),
    "person": lambda tx, account, person, __: people.change_person(tx, account, person, 1, {"name": "Sam"}),
    "remove person": lambda tx, account, person, __: people.remove_person(tx, account, person, 1),
    "credentials": lambda tx, account, person, __: credentials.set_credentials(tx, account, person, "hash", None),
    "check credentials": lambda tx, account, person, __: credentials.check_settable(tx, account, person),
    "device": lambda tx, account, _, device: devices.change_device(tx, account, device, 1, {"name": "Pump 2"}),
    "remove device": lambda tx, account, _, device: devices.remove_device(tx, account, device, 1),
}
OF_PERSON = {
    name: use
    for name, use in {**READS, **{f"change {name}": use for name, use in CHANGES.items()}}.items()
    if name in ("person", "change person", "change remove person", "change credentials", "change check credentials")
}


def furnished(services: Services) -> tuple[UUID, UUID, UUID]:
    """An account, a person and a device of it, and a session of both."""
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    device_id = make_device(services, account_id).row.device_id
    make_session(services, account_id, device_id, person_id=person_id)
    return account_id, person_id, device_id


def restrict(services: Services, account_id: UUID, person_id: UUID | None = None) -> bool:
    with transaction(services) as tx:
        if person_id is None:
            return restriction.restrict_account(tx, account_id)
        return restriction.restrict_person(tx, account_id, person_id)


@pytest.mark.parametrize("name", READS)
def test_no_backend_reads_a_restricted_account_but_its_holder_does(services: Services, name: str) -> None:
    account_id, person_id, device_id = furnished(services)
    restrict(services, account_id)
    with pytest.raises(AccountRestrictedError), transaction(services, BACKEND) as tx:
        READS[name](tx, account_id, person_id, device_id)
    with transaction(services, holder(account_id, person_id)) as tx:
        assert READS[name](tx, account_id, person_id, device_id)


@pytest.mark.parametrize("name", CHANGES)
def test_nobody_changes_a_restricted_account(services: Services, name: str) -> None:
    account_id, person_id, device_id = furnished(services)
    restrict(services, account_id)
    for actor in (BACKEND, holder(account_id, person_id)):
        with pytest.raises(AccountRestrictedError), transaction(services, actor) as tx:
            CHANGES[name](tx, account_id, person_id, device_id)


@pytest.mark.parametrize("name", OF_PERSON)
def test_no_backend_uses_a_restricted_person(services: Services, name: str) -> None:
    account_id, person_id, device_id = furnished(services)
    restrict(services, account_id, person_id)
    with pytest.raises(PersonRestrictedError), transaction(services, BACKEND) as tx:
        OF_PERSON[name](tx, account_id, person_id, device_id)


def test_everything_is_as_before_when_the_restriction_is_lifted(services: Services) -> None:
    account_id, person_id, device_id = furnished(services)
    assert restrict(services, account_id, person_id)
    assert restrict(services, account_id)
    with transaction(services) as tx:
        assert restriction.end(tx, account_id, None, "staff").causes == ()
        assert restriction.end(tx, account_id, person_id, "staff").causes == ()
    with transaction(services, BACKEND) as tx:
        for use in READS.values():
            assert use(tx, account_id, person_id, device_id)
        [session, *_] = traffic_reports.list_sessions(tx, account_id, Span(), before=None, limit=1)
        assert session.person_id == person_id
        assert people.read_person(tx, account_id, person_id).row.version == 3


def test_what_is_done_already_is_not_done_again(services: Services, owner_engine: Engine) -> None:
    account_id, person_id, _ = furnished(services)
    disclose(services, account_id)
    assert [restrict(services, account_id), restrict(services, account_id)] == [True, False]
    assert [restrict(services, account_id, person_id), restrict(services, account_id, person_id)] == [True, False]
    with transaction(services) as tx:
        for _ in range(2):
            restriction.end(tx, account_id, None, "staff")
            restriction.end(tx, account_id, person_id, "staff")
    with owner_engine.connect() as connection:
        told = text("SELECT kind, concerns FROM recipient_notices ORDER BY notice_id")
        assert [tuple(row) for row in connection.execute(told)] == [("restriction", None), ("restriction", person_id)]
        done = text("SELECT action FROM audit_events WHERE action ~ '[.](restrict|lift)$' ORDER BY event_id")
        assert list(connection.scalars(done)) == ["account.restrict", "person.restrict", "account.lift", "person.lift"]


def test_kept_answers_that_tell_of_a_restricted_person_are_erased(services: Services) -> None:
    account_id, person_id, _ = furnished(services)
    with transaction(services, BACKEND) as tx:
        claimed = idempotency.claim(tx, "one", b"request")
        answer = Answer(201, {"headers": {}, "body": f'{{"id": "{person_id}"}}'})
        idempotency.keep_answer(tx, claimed, account_id, new_id(), answer, expires_at=NOW.replace(year=2027))
    restrict(services, account_id, person_id)
    with pytest.raises(NotFoundError), transaction(services, BACKEND) as tx:
        idempotency.claim(tx, "one", b"request")


@pytest.mark.parametrize("of_person", [False, True])
def test_no_hint_is_mailed_while_restricted(services: Services, of_person: bool) -> None:
    account_id, person_id, _ = furnished(services)
    with transaction(services) as tx:
        credentials.set_credentials(tx, account_id, person_id, "hash", "as in the song")
        assert credentials.open_hint(tx, accounts.find_account(tx, account_id), person_id) == "as in the song"
    restrict(services, account_id, person_id if of_person else None)
    with transaction(services) as tx:
        assert credentials.open_hint(tx, accounts.find_account(tx, account_id), person_id) is None


def test_an_account_that_is_being_erased_is_not_restricted_any_more_but_a_person_in_it_is(services: Services) -> None:
    account_id, person_id, _ = furnished(services)
    close(services, account_id)
    with pytest.raises(AccountClosingError):
        restrict(services, account_id)
    assert restrict(services, account_id, person_id)
