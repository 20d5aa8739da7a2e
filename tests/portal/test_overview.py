"""The first page: the account, how it stands, when it goes, and who is in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from flask import Flask
from sqlalchemy import Engine, event, text

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.rights import requests
from cloudpriv.rights.restriction import restrict_account, restrict_person
from tests.factories import NOW, make_account, transaction
from tests.holders import Holder, Time, make_holder
from tests.portal.reading import Page
from tests.requests import DOCUMENTS


def overview(holder: Holder) -> Page:
    """The first page, as it is read after signing in."""
    return Page(holder.sign_in().get("/portal/").text)


@contextmanager
def queries(app: Flask) -> Iterator[list[str]]:
    """What the app asks its database."""
    engine = app.extensions[EXTENSION].services.controller.engine
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(str(given[2]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_it_says_when_the_account_will_be_erased_and_why(app: Flask, services: Services, owner_engine: Engine) -> None:
    account = make_account(services, created_at=datetime(2018, 5, 4, 9, tzinfo=UTC))
    kim = make_holder(app, services, account.row.account_id)
    erased = overview(kim).words("section", aria_labelledby="erased")
    assert "5 May 2025" in erased
    assert "7 years after its last traffic or its opening, whichever is later" in erased
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET last_traffic_at = '2026-02-28T23:59:59Z'"))
    page = Page(kim.get("/portal/").text)
    assert "1 March 2033" in page.words("section", aria_labelledby="erased")
    assert "28 February 2026" in page.words("section", aria_labelledby="last")


def test_it_tells_what_the_account_is(kim: Holder) -> None:
    account = overview(kim).words("section", aria_labelledby="account")
    for told in ("Talk2M", kim.names["account_name"], "Acme Water Ltd", "active", "1 June 2026", "Owner of the account"):
        assert told in account


def test_traffic_from_before_the_opening_does_not_bring_the_erasure_forward(kim: Holder, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET last_traffic_at = '2020-01-01T00:00:00Z'"))
    erased = overview(kim).words("section", aria_labelledby="erased")
    assert "2 June 2033" in erased, "it was opened on 1 June 2026"
    assert "whichever is later" in erased


def test_an_owner_sees_who_is_in_the_account(kim: Holder, alex: Holder) -> None:
    rows = overview(kim).rows()
    assert [row[0] for row in rows[1:]] == ["kim you", "alex"]
    assert rows[2][1:] == ["Alex Example", "alex@example.com", "Member"]
    assert Page(kim.get("/portal/").text).words("a", href="/portal/owners") == "See whether that is under way"


def test_a_member_sees_nobody_else_and_not_the_company(kim: Holder, alex: Holder) -> None:
    page = overview(alex)
    assert page.rows() == []
    assert "kim" not in page.one("main").text
    assert "Acme Water Ltd" not in page.one("main").text
    assert "Alex Example" in page.words("h1")


def test_open_requests_are_counted_with_the_day_of_the_next_answer(kim: Holder, services: Services) -> None:
    identity = requests.Identity("password", str(kim.person_id))
    owner = Actor("owner", str(kim.person_id), "talk2m", frozenset({HOLDER}), kim.account_id)
    with transaction(services, owner) as tx:
        requests.receive(tx, services.policy, kim.account_id, "objection", channel="portal", identity=identity)
        ended = requests.receive(tx, services.policy, kim.account_id, "access", channel="portal", identity=identity)
        requests.withdraw(tx, ended.row.request_id)
    asked = overview(kim).words("section", aria_labelledby="asked")
    assert asked.startswith("Open requests 1 ")
    assert "1 July 2026" in asked


def test_an_answer_whose_day_is_over_is_late_and_not_promised(kim: Holder, services: Services, time: Time) -> None:
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, kim.account_id, "objection", channel="letter", identity=DOCUMENTS)
    time.pass_by(days=30)
    assert "The next answer is due by 1 July 2026." in overview(kim).words("section", aria_labelledby="asked")
    assert "answers by the day" in kim.get(f"/portal/requests/{known.row.request_id}").text
    assert "due by 1 July 2026" in Page(kim.get("/portal/requests").text).rows()[1]
    time.pass_by(days=1)
    assert "An answer was due by 1 July 2026 and is late." in overview(kim).words("section", aria_labelledby="asked")
    page = Page(kim.get(f"/portal/requests/{known.row.request_id}").text)
    assert "The answer was due by 1 July 2026 and is late" in page.words("section", aria_labelledby="steps")
    assert "The answer is late" in page.words("div", role="status")
    assert page.words("dl", class_="facts").count("1 July 2026 late") == 1
    assert "was due by 1 July 2026 late" in Page(kim.get("/portal/requests").text).rows()[1]


def test_a_member_is_told_of_their_own_requests_alone(kim: Holder, alex: Holder, services: Services) -> None:
    for holder, person_id in ((kim, None), (kim, kim.person_id), (alex, alex.person_id)):
        kind: Literal["owner", "member"] = "owner" if holder is kim else "member"
        actor = Actor(kind, str(holder.person_id), "talk2m", frozenset({HOLDER}), holder.account_id)
        identity = requests.Identity("password", str(holder.person_id))
        with transaction(services, actor) as tx:
            requests.receive(
                tx, services.policy, kim.account_id, "objection", person_id=person_id, channel="portal", identity=identity
            )
    assert overview(alex).words("section", aria_labelledby="asked").startswith("Open requests 1 ")
    assert overview(kim).words("section", aria_labelledby="asked").startswith("Open requests 3 ")


def test_it_takes_as_many_queries_for_many_requests_as_for_one(kim: Holder, services: Services, app: Flask) -> None:
    kim.sign_in()
    counted = []
    for _ in range(2):
        with transaction(services) as tx:
            for _ in range(3):
                requests.receive(tx, services.policy, kim.account_id, "objection", channel="letter")
        with queries(app) as seen:
            assert kim.get("/portal/").status_code == 200
        counted.append(seen)
    assert len(counted[0]) == len(counted[1])
    assert not [query for query in counted[1] if "requests.details" in query], "no request is read itself"


def test_a_restricted_account_says_so(kim: Holder, services: Services) -> None:
    with transaction(services) as tx:
        restrict_account(tx, kim.account_id)
    page = overview(kim)
    assert "The processing of this account is restricted." in page.words("div", role="status")
    assert "restricted" in page.words("section", aria_labelledby="account")


def test_a_restricted_account_is_not_told_to_be_erased_from_a_day(kim: Holder, services: Services) -> None:
    with transaction(services) as tx:
        restrict_account(tx, kim.account_id)
    erased = overview(kim).words("section", aria_labelledby="erased")
    assert erased.startswith("Erased from Not while it is restricted")
    assert "As long as the processing is restricted, the account is not erased by our rule" in erased
    assert "traffic of its devices is not taken in" in erased
    assert "2 June 2033" in erased
    assert "With new traffic the day moves on" not in erased


def test_a_restricted_person_is_told_so(kim: Holder, alex: Holder, services: Services) -> None:
    with transaction(services) as tx:
        restrict_person(tx, kim.account_id, kim.person_id)
    kim.sign_in()
    assert "The processing of your own data is restricted." in Page(kim.get("/portal/").text).words("div", role="status")


def test_a_closing_account_says_until_when_that_can_be_undone(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in()
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'closing', closes_at = :at"), {"at": NOW + timedelta(days=14)})
    page = Page(kim.get("/portal/").text)
    assert "Until 15 Jun 2026, 12:00 UTC an owner can undo it." in page.words("div", role="status")
    assert "15 June 2026" in page.words("section", aria_labelledby="erased")


def test_each_look_is_told(kim: Holder, alex: Holder, owner_engine: Engine) -> None:
    overview(kim)
    with owner_engine.connect() as connection:
        told = connection.execute(
            text("SELECT action, subject_id FROM audit_events WHERE actor_id = :id"), {"id": str(kim.person_id)}
        )
        seen = {(action, subject) for action, subject in told}
    assert {
        ("account.read", None),
        ("person.read", kim.person_id),
        ("person.read", alex.person_id),
        ("request.list", None),
    } <= seen
