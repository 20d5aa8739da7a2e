"""The page of who looked: the trail in words, the account's for owners, one's own for members."""

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Engine, text

import cloudpriv
from cloudpriv.api.accounts import AccountPatch
from cloudpriv.api.devices import DevicePatch
from cloudpriv.api.people import PersonPatch
from cloudpriv.audit import events
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, people
from cloudpriv.platform.actor import OPERATOR, WORKER, Actor
from cloudpriv.portal import deeds
from tests.factories import BACKEND, NOW, make_account, transaction
from tests.holders import Holder
from tests.portal.reading import Page

SOURCES = Path(cloudpriv.__file__).parent
# The customer reads the processor plane's record there.
OTHER_PLANE = (SOURCES / "processor", SOURCES / "api" / "logdata", SOURCES / "client", SOURCES / "demo")
ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
RECORDERS = frozenset({"events.record", "events.record_each", "events.event_of"})
# Strings of the form of an action, in modules that name their actions elsewhere than in the call that records them.
NO_ACTIONS = frozenset({"accounts.account_id", "outbox.addressee", "people.account_id", "people.person_id"})


def sources() -> Iterator[Path]:
    """The modules of the controller plane."""
    for path in sorted(SOURCES.rglob("*.py")):
        if not any(path.is_relative_to(each) for each in OTHER_PLANE) and path.name not in (
            "deeds.py",
            "dmweb.py",
            "opendsr.py",
        ):
            yield path


def texts(node: ast.AST) -> Iterator[str]:
    """The strings in a piece of code that look like actions."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and ACTION.fullmatch(each.value):
            yield each.value


def recorded(path: Path) -> set[str]:
    """The actions that a module records; where it does not name them in the call, all in it that look like one."""
    tree, found = ast.parse(path.read_text()), set()
    for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        if ast.unparse(call.func) in RECORDERS and len(call.args) > 1:
            named = set(texts(call.args[1]))
            found |= named or set(texts(tree)) - NO_ACTIONS
        found |= {each for keyword in call.keywords if keyword.arg == "told" for each in texts(keyword.value)}
    return found


def test_every_action_that_is_recorded_has_its_words() -> None:
    found = {action for path in sources() for action in recorded(path)}
    assert len(found) > 60
    assert found - deeds.DEEDS.keys() - deeds.OF_NO_ACCOUNT == set()


def test_no_words_are_kept_for_what_nobody_records() -> None:
    found = {action for path in sources() for action in recorded(path)}
    assert (deeds.DEEDS.keys() | deeds.OF_NO_ACCOUNT) - found == set()


def test_no_two_actions_are_told_in_the_same_words(app: Flask) -> None:
    with app.test_request_context("/portal/"):
        told = [str(words) for words in deeds.DEEDS.values()]
    assert len(told) == len(set(told))


@pytest.mark.parametrize("schema", [PersonPatch, AccountPatch, DevicePatch])
def test_every_field_that_can_be_changed_has_its_name(schema: type[PersonPatch]) -> None:
    assert schema().fields.keys() - deeds.FIELDS.keys() == set()


def lines(holder: Holder, path: str = "/portal/access") -> list[tuple[str, str]]:
    """Who did what, latest first."""
    answer = holder.get(path)
    assert answer.status_code == 200
    return [(row[1], row[2]) for row in Page(answer.text).rows()[1:]]


def test_an_owner_is_told_of_everybody_in_words(kim: Holder, alex: Holder, services: Services) -> None:
    for actor in (BACKEND, WORKER, OPERATOR, Actor("member", str(alex.person_id), "talk2m")):
        with transaction(services, actor, NOW + timedelta(seconds=1)) as tx:
            accounts.read_account(tx, kim.account_id)
    seen = lines(kim.sign_in())
    for who in ("Talk2M's systems", "The service, by itself", "Staff", "Another person of the account"):
        assert (who, "Looked at the account") in seen
    assert ("You", "Signed in about you") in seen
    assert not [who for who, _ in seen if re.search("[0-9a-f]{8}", who)]


def test_a_change_tells_the_fields_and_not_the_values(kim: Holder, services: Services) -> None:
    with transaction(services, BACKEND) as tx:
        people.change_person(tx, kim.account_id, kim.person_id, 1, {"name": "canary", "email": "canary@example.com"})
    assert ("Talk2M's systems", "Changed a person's data about you e-mail address, name") in lines(kim.sign_in())
    assert "canary" not in kim.get("/portal/access").text


def test_a_member_sees_what_is_about_them_and_nothing_else(kim: Holder, alex: Holder, services: Services) -> None:
    with transaction(services, BACKEND) as tx:
        people.change_person(tx, kim.account_id, kim.person_id, 1, {"name": "Kim"})
        people.change_person(tx, kim.account_id, alex.person_id, 1, {"locale": "en"})
        accounts.read_account(tx, kim.account_id)
    seen = lines(alex.sign_in())
    assert ("Talk2M's systems", "Changed a person's data language") in seen
    assert not [what for _, what in seen if what.startswith("Looked at the account") or "name" in what.split()]


def test_another_accounts_trail_is_not_shown(kim: Holder, services: Services) -> None:
    other = make_account(services)
    with transaction(services, BACKEND) as tx:
        accounts.change_account(tx, other.row.account_id, 1, {"account_name": "elsewhere"})
    assert not [what for _, what in lines(kim.sign_in()) if "Changed the account" in what]


def test_incoming_traffic_is_shown_on_demand(kim: Holder, services: Services) -> None:
    with transaction(services, BACKEND) as tx:
        events.record(tx, "traffic.write", account_id=kim.account_id)
    told = ("Talk2M's systems", "Stored traffic of devices")
    assert told not in lines(kim.sign_in())
    page = Page(kim.get("/portal/access").text)
    switch = [each for each in page.all("a") if each.text == "Show incoming traffic, too"]
    assert told in lines(kim, str(switch[0].attributes["href"]))


def test_ones_own_visits_are_left_out_on_demand(kim: Holder, services: Services) -> None:
    with transaction(services, BACKEND) as tx:
        accounts.read_account(tx, kim.account_id)
    kim.sign_in().get("/portal/")
    switch = [each for each in Page(kim.get("/portal/access").text).all("a") if each.text == "Leave out my own visits"]
    seen = lines(kim, str(switch[0].attributes["href"]))
    assert ("Talk2M's systems", "Looked at the account") in seen
    assert "You" not in [who for who, _ in seen]


def test_a_sign_in_is_one_line_and_no_break_in(kim: Holder, alex: Holder) -> None:
    alex.sign_in()
    seen = lines(kim.sign_in())
    assert seen.count(("You", "Signed in about you")) == 1
    assert seen.count(("Another person of the account", "Signed in")) == 1
    assert [each for each in seen if "right password" in each[1]] == []
    left = lines(kim, "/portal/access?others=yes")
    assert [each for each in left if "right password" in each[1]] == [], "nor where one's own visits are left out"
    assert ("Another person of the account", "Signed in") in left


def test_a_right_password_that_led_to_no_sign_in_is_told(kim: Holder, services: Services) -> None:
    with transaction(services, Actor("client", "unauthenticated", "talk2m")) as tx:
        events.record(tx, "credentials.verify", account_id=kim.account_id, subject_id=UUID(int=1))
    assert ("Somebody who was signing in", "Gave the right password") in lines(kim.sign_in())


def test_a_page_that_looks_at_the_same_twice_is_one_look(kim: Holder) -> None:
    kim.sign_in()
    for path in ("/portal/devices", "/portal/traffic", "/portal/consents"):
        kim.get(path)
    seen = lines(kim)
    assert not [line for line, following in pairwise(seen) if line == following]
    assert ("You", "Looked at consents about you") in seen
    assert not [what for _, what in seen if "times" in what]


def test_what_is_done_over_and_over_is_one_line_a_minute_that_says_how_often(kim: Holder, services: Services) -> None:
    yesterday = NOW - timedelta(days=1)
    for seconds in (1, 20, 59, 61):
        with transaction(services, BACKEND, yesterday + timedelta(seconds=seconds)) as tx:
            accounts.read_account(tx, kim.account_id)
    with transaction(services, OPERATOR, yesterday + timedelta(seconds=62)) as tx:
        accounts.read_account(tx, kim.account_id)
    seen = [each for each in lines(kim.sign_in()) if each[1].startswith("Looked at the account")]
    assert [each for each in seen if each[0] != "You"] == [
        ("Staff", "Looked at the account"),
        ("Talk2M's systems", "Looked at the account"),
        ("Talk2M's systems", "Looked at the account 3 times within the minute"),
    ]


def test_the_trail_is_read_page_by_page_latest_first(kim: Holder, services: Services, owner_engine: Engine) -> None:
    for minute in range(120):
        with transaction(services, BACKEND, NOW - timedelta(days=1) + timedelta(minutes=minute)) as tx:
            accounts.read_account(tx, kim.account_id)
    kim.sign_in()
    times, path = [], "/portal/access?others=yes"
    while path:
        page = Page(kim.get(path).text)
        times += [each.attributes["datetime"] for each in page.all("time")]
        following = page.all("a", rel="next")
        path = str(following[0].attributes["href"]) if following else ""
    of_yesterday = [each for each in times if str(each).startswith("2026-05-31")]
    assert of_yesterday == sorted({str(each) for each in of_yesterday}, reverse=True)
    assert len(of_yesterday) == 120


def test_the_look_at_the_trail_is_in_it(kim: Holder, alex: Holder, owner_engine: Engine) -> None:
    kim.sign_in().get("/portal/access")
    alex.sign_in().get("/portal/access")
    with owner_engine.connect() as connection:
        query = text("SELECT actor_id, subject_id FROM audit_events WHERE action = 'audit.read' ORDER BY event_id")
        told = [tuple(row) for row in connection.execute(query)]
    assert told == [(str(kim.person_id), None), (str(alex.person_id), alex.person_id)]


def test_what_has_no_words_yet_is_shown_all_the_same(kim: Holder, services: Services) -> None:
    with transaction(services, BACKEND) as tx:
        events.record(tx, "thing.invented", account_id=kim.account_id, fields=["strange"])
    assert ("Talk2M's systems", "Did something that has no name here strange") in lines(kim.sign_in())


def test_looks_are_found_by_an_index_however_much_traffic_came_in(kim: Holder, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        plan = "EXPLAIN SELECT * FROM audit_events WHERE account_id = :id AND {} ORDER BY event_id DESC LIMIT 51"
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        for condition, index in (
            ("action <> 'traffic.write'", "ix_audit_events_looks"),
            ("subject_id = :id AND action <> 'traffic.write'", "ix_audit_events_subject"),
        ):
            told = "\n".join(connection.scalars(text(plan.format(condition)), {"id": kim.account_id}))
            assert index in told


def test_who_acted_is_never_told_by_an_id(app: Flask) -> None:
    own, other = UUID(int=1), UUID(int=2)
    with app.test_request_context("/portal/"):
        told = {
            kind: str(deeds.actor(kind, str(other), own, "intesis"))
            for kind in ("client", "worker", "operator", "owner", "member")
        }
        assert str(deeds.actor("owner", str(own), own, "intesis")) == "You"
        assert str(deeds.actor("client", "unauthenticated", own, "intesis")) == "Somebody who was not signed in"
    assert told == {
        "client": "Intesis's systems",
        "worker": "The service, by itself",
        "operator": "Staff",
        "owner": "Another person of the account",
        "member": "Another person of the account",
    }
