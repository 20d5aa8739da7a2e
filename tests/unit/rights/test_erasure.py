"""The erasure of one person reaches whatever holds them: archives, sessions, codes, consents, and what requests said."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, insert, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials, people, sessions
from cloudpriv.controller.holder_tables import Disclosure
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.actor import OPERATOR, WORKER
from cloudpriv.platform.classify import classification_of, erased_tables
from cloudpriv.platform.errors import GoneError, NotFoundError
from cloudpriv.retention import holds
from cloudpriv.rights import codes, export, leases, requests
from cloudpriv.rights.cases import states
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.erasure import erase_person
from cloudpriv.rights.leases import LeaseLostError
from cloudpriv.rights.requests import Identity
from cloudpriv.rights.tables import Export, PolicyAnnouncement, RecipientNotice, SubjectRequest
from tests.disclosed import disclose
from tests.exports import ask, make_session, open_archive, run, stored
from tests.factories import BACKEND, NOW, make_account, make_device, make_person, transaction
from tests.requests import member, owner
from tests.stack import every_row


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


def plant(services: Services, worker_services: Services, account_id: UUID, person_id: UUID) -> UUID:
    """Give a person something everywhere, all of it with canaries; the id of a request of theirs that was answered."""
    with transaction(services, now=NOW) as tx:
        credentials.set_credentials(tx, account_id, person_id, "canary-hash", "canary hint")
        sessions.begin(tx, account_id, person_id, "canary-browser")
        codes.send(tx, account_id, person_id, "identity")
        consents.ask(tx, services.policy, account_id, person_id, "product_news", language="en")
        identity = Identity("backend", "client:x", "canary-passport")
        ended = requests.receive(
            tx, services.policy, account_id, "rectification", person_id=person_id, identity=identity,
            details={"text": "canary-text", "changes": {"name": "canary-name"}},
        )  # fmt: skip
        requests.begin(tx, services.policy, ended.row.request_id)
        requests.complete(tx, services.policy, ended.row.request_id, "rectified")
        requests.receive(tx, services.policy, account_id, "access", person_id=person_id, identity=identity)
        requests.receive(tx, services.policy, account_id, "objection", person_id=person_id, details={"text": "canary"})
    with worker_services.controller.transaction(WORKER, NOW) as tx:
        announced = {"policy_version": "2026", "announced_at": NOW}
        tx.session.execute(insert(PolicyAnnouncement), {"account_id": account_id, "person_id": person_id, **announced})
    return ended.row.request_id


def opened(services: Services, owner: Engine, account_id: UUID) -> str:
    """All that the database holds, in the clear and unsealed, but for the trail, which has ids only."""
    found = [row for name, rows in every_row(owner).items() if name != "audit_events" for row in rows]
    with transaction(services) as tx:
        key = accounts.find_account(tx, account_id).key
    columns = [column for table in erased_tables(CONTROLLER) for column in table.columns]
    marked = [(column, mark) for column in columns if (mark := classification_of(column)) and mark.sealed]
    with owner.connect() as connection:
        for column, mark in marked:
            record = list(column.table.primary_key.columns)[-1]
            record = column.table.columns.answer_id if column.table.name == "idempotency_keys" else record
            for record_id, sealed in connection.execute(select(record, column).where(column.is_not(None))):
                found.append(str(key.open(record_id, mark.sealed or "", sealed)) if sealed else "")
    return "\n".join(found)


def test_of_an_erased_person_nothing_is_left_and_the_account_goes_on(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id, name="canary-name", username="canary-user").row.person_id
    other = make_person(services, account_id, name="Robin Example").row.person_id
    make_session(services, account_id, make_device(services, account_id).row.device_id, person_id=person_id)
    answered = plant(services, worker_services, account_id, person_id)
    assert opened(services, owner_engine, account_id).count("canary") > 8, "all of it is found while it is there"
    with transaction(services) as tx:
        assert erase_person(tx, account_id, person_id, 1)
    left = opened(services, owner_engine, account_id)
    assert "canary" not in left
    assert str(person_id) not in left
    with transaction(services) as tx:
        ended = tx.session.get_one(SubjectRequest, (account_id, answered))
        assert (ended.status, ended.person_id, ended.details) == ("completed", None, None)
        open_ones = select(SubjectRequest).where(SubjectRequest.status.not_in(states.ENDED))
        assert tx.session.scalars(open_ones).all() == []
        assert [each.row.person_id for each in people.list_people(tx, account_id, after=None, limit=5)] == [other]
    rows = every_row(owner_engine)
    for table in ("holder_sessions", "one_time_codes", "consent_records", "credentials", "policy_announcements"):
        assert rows[table] == [], table
    assert len(rows["traffic"]) == 1
    assert [row for row in rows["audit_events"] if str(person_id) in row], "the trail keeps ids"


def test_what_a_held_persons_requests_said_goes_when_the_hold_ends(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    plant(services, worker_services, account_id, person_id)
    with transaction(services) as tx:
        hold = holds.place(tx, account_id, "account", authority="Example District Court", reference="T 1")
    with transaction(services) as tx:
        assert not erase_person(tx, account_id, person_id, 1)
    assert "canary" in opened(services, owner_engine, account_id)
    with transaction(services) as tx:
        holds.release(tx, account_id, hold.hold_id)
    with worker_services.controller.transaction(WORKER, NOW) as tx:
        assert holds.erase_released(tx) == 1
    left = opened(services, owner_engine, account_id)
    assert "canary" not in left
    assert str(person_id) not in left


def test_what_a_held_persons_requests_said_goes_at_once_where_the_hold_keeps_something_else(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    plant(services, worker_services, account_id, person_id)
    with transaction(services) as tx:
        holds.place(tx, account_id, "category", category="traffic_metadata", authority="Example Court", reference="T 1")
    with transaction(services) as tx:
        assert not erase_person(tx, account_id, person_id, 1)
    assert "canary" not in opened(services, owner_engine, account_id)


def test_recipients_are_told_of_the_erasure_and_the_disclosure_names_nobody(
    services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services).row.account_id
    one, other = (make_person(services, account_id).row.person_id for _ in range(2))
    disclosed = [disclose(services, account_id, person_id=each).row.disclosure_id for each in (one, other, None)]
    with transaction(services) as tx:
        erase_person(tx, account_id, one, 1)
    with transaction(services) as tx:
        told = tx.session.scalars(select(RecipientNotice).order_by(RecipientNotice.notice_id)).all()
        assert [(each.kind, each.disclosure_id, each.concerns) for each in told] == [
            ("erasure", disclosed[0], one),
            ("erasure", disclosed[2], one),
        ]
        assert tx.session.get_one(Disclosure, (account_id, disclosed[0])).person_id is None


def test_an_archive_of_the_person_alone_is_never_made_once_they_are_erased(
    services: Services, worker_services: Services
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with transaction(services) as tx:
        asked = requests.receive(
            tx, services.policy, account_id, "access", person_id=person_id, identity=Identity("backend", "client:x")
        )
        assert asked.export is not None
        export_id = asked.export.export_id
    with transaction(services) as tx:
        erase_person(tx, account_id, person_id, 1)
    run(services, export_id)
    with transaction(services) as tx:
        export_row = tx.session.scalars(select(Export)).one()
        assert (export_row.status, export_row.person_id) == ("failed", None)
        assert tx.session.scalars(select(SubjectRequest)).one().status == "withdrawn"
    assert stored(services, account_id) == []


@pytest.mark.parametrize("kind", ["staff", "backend", "owner", "member"])
def test_of_an_account_that_is_gone_nobody_is_there_to_be_erased(
    services: Services, owner_engine: Engine, kind: str
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'purging'"))
    holders = {"owner": owner, "member": member}
    actors = {"staff": OPERATOR, "backend": BACKEND, **{name: by(account_id, person_id) for name, by in holders.items()}}
    with transaction(services, actors[kind]) as tx, pytest.raises(NotFoundError):
        erase_person(tx, account_id, person_id, 1)
    with transaction(services, actors[kind]) as tx, pytest.raises(NotFoundError):
        requests.receive(tx, services.policy, account_id, "erasure", person_id=person_id)
