"""The guard of the portal's pages: who may see them, which forms it takes, and where it leads instead."""

from dataclasses import replace
from uuid import UUID

import pytest
from flask import Blueprint, Flask, request
from sqlalchemy import Engine, text

from cloudpriv.api.endpoint import EXTENSION, PUBLIC, access_of
from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, people
from cloudpriv.controller.tables import Account, Person
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform import db
from cloudpriv.platform.actor import HOLDER
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import BusyError
from cloudpriv.portal import app as portal
from cloudpriv.portal import guard
from tests.factories import transaction
from tests.holders import Holder, Time, make_holder
from tests.stack import fresh_database

# What takes a form that no page of ours showed, and what it goes by instead.
WITHOUT_TOKEN = {
    "/portal/unsubscribe/<token>": "mail programs post it (RFC 8058); the path's own token says for whom",
    "/portal/language": "it changes this browser's language alone, and stands on error pages; no other site may send it",
}


def probes() -> Blueprint:
    """Pages that say who they were asked by, one for each thing that a page may demand."""
    blueprint = Blueprint("probe", __name__, url_prefix="/portal/probe")

    def shown(tx: Tx) -> str:
        token = f'name="csrf_token" value="{guard.csrf_token()}"'
        return f"{tx.actor.kind} {tx.actor.id} {tx.actor.account_id} {token}"

    guards = {
        "any": guard.page(),
        "owner": guard.page(owner=True),
        "fresh": guard.page(fresh=True),
        "usable": guard.page(restricted_ok=False),
        "public": guard.page(public=True),
    }
    for name, guarded in guards.items():
        blueprint.add_url_rule(f"/{name}", name, guarded(shown), methods=["GET", "POST"])
    blueprint.add_url_rule("/sent", "sent", guard.page(fresh=True)(shown), methods=["POST"])
    blueprint.add_url_rule("/fails", "fails", guard.page()(_fails), methods=["POST"])
    blueprint.add_url_rule("/reads", "reads", guard.page(public=True)(_reads))
    return blueprint


def _fails(tx: Tx) -> str:
    person = guard.signed_in()[2]
    people.change_person(tx, person.row.account_id, person.row.person_id, person.row.version, {"name": "Changed"})
    raise BusyError


def _reads(tx: Tx) -> str:
    accounts.find_account(tx, UUID(request.args["account_id"]))
    return "seen"


@pytest.fixture(scope="session")
def any_portal(stack: Stack) -> Flask:
    """The portal with pages of ours beside its own."""
    with pytest.MonkeyPatch.context() as patch, fresh_database(stack) as database:
        patch.setattr(portal, "BLUEPRINTS", (*portal.BLUEPRINTS, probes()))
        made = create_app(database.services("api"))
    made.testing = True
    return made


def test_a_page_asks_whoever_is_not_signed_in_to_sign_in_and_leads_back(kim: Holder) -> None:
    answer = kim.get("/portal/probe/any?cursor=private")
    assert (answer.status_code, answer.location) == (303, "/portal/sign-in?next=%2Fportal%2Fprobe%2Fany")
    assert kim.attempt(next="/portal/probe/any").location == "/portal/probe/any"


def test_a_form_of_a_session_that_ended_leads_to_a_page_that_can_be_opened(kim: Holder) -> None:
    for path, leads in (("any", "/portal/sign-in?next=%2Fportal%2Fprobe%2Fany"), ("sent", "/portal/sign-in")):
        assert kim.post(f"/portal/probe/{path}", csrf_token="x").location == leads


def test_a_page_acts_for_who_is_signed_in_in_their_own_account(kim: Holder, alex: Holder) -> None:
    for holder, kind in ((kim, "owner"), (alex, "member")):
        said = holder.sign_in().get("/portal/probe/any").text.split()
        assert said[:3] == [kind, str(holder.person_id), str(holder.account_id)]


def test_a_page_of_owners_is_closed_to_members(kim: Holder, alex: Holder) -> None:
    assert kim.sign_in().get("/portal/probe/owner").status_code == 200
    assert alex.sign_in().get("/portal/probe/owner").status_code == 403
    assert alex.post("/portal/probe/owner", "/portal/sessions").status_code == 403


def test_who_is_made_a_member_is_no_owner_with_the_next_page(kim: Holder, services: Services) -> None:
    kim.sign_in()
    with transaction(services) as tx:
        tx.session.get_one(Person, (kim.account_id, kim.person_id)).role = "member"
    assert kim.get("/portal/probe/owner").status_code == 403


def test_a_page_may_be_closed_to_restricted_accounts_and_people(kim: Holder, services: Services, time: Time) -> None:
    kim.sign_in()
    assert kim.get("/portal/probe/usable").status_code == 200
    with transaction(services) as tx:
        tx.session.get_one(Account, kim.account_id).status = "restricted"
    assert (kim.get("/portal/probe/usable").status_code, kim.get("/portal/probe/any").status_code) == (423, 200)
    with transaction(services) as tx:
        tx.session.get_one(Account, kim.account_id).status = "active"
        tx.session.get_one(Person, (kim.account_id, kim.person_id)).restricted_at = time.now
    assert (kim.get("/portal/probe/usable").status_code, kim.get("/portal/probe/any").status_code) == (423, 200)


def test_what_must_be_done_by_the_person_alone_asks_for_the_password_after_five_minutes(kim: Holder, time: Time) -> None:
    kim.sign_in()
    time.pass_by(minutes=5, microseconds=-1)
    assert kim.get("/portal/probe/fresh").status_code == 200
    token = kim.token("/portal/sessions")
    time.pass_by(microseconds=1)
    assert kim.get("/portal/probe/fresh").location == "/portal/password?next=%2Fportal%2Fprobe%2Ffresh"
    assert kim.post("/portal/probe/fresh", csrf_token=token).location == "/portal/password?next=%2Fportal%2Fprobe%2Ffresh"
    assert kim.post("/portal/probe/sent", csrf_token=token).location == "/portal/password"
    answer = kim.post("/portal/password", password=kim.password, next="/portal/probe/fresh")
    assert (answer.status_code, answer.location) == (303, "/portal/probe/fresh")
    assert kim.get("/portal/probe/fresh").status_code == 200


@pytest.mark.parametrize("page", ["any", "public"])
def test_a_form_without_the_token_of_its_page_does_nothing(kim: Holder, page: str) -> None:
    kim.sign_in()
    for token in (None, "", "x", "é", "A" * 88, kim.token("/portal/sessions")[:-4] + "AAA="):
        assert kim.post(f"/portal/probe/{page}", csrf_token=token).status_code == 403
    assert kim.post(f"/portal/probe/{page}").status_code == 200


def test_a_token_is_good_for_its_own_session_alone(kim: Holder, app: Flask, services: Services) -> None:
    mallory = make_holder(app, services, username="mallory").sign_in()
    kim.sign_in()
    stolen = mallory.token("/portal/sessions")
    assert kim.post("/portal/probe/any", csrf_token=stolen).status_code == 403
    assert mallory.post("/portal/probe/any", csrf_token=stolen).status_code == 200


def test_a_token_is_written_differently_each_time(kim: Holder) -> None:
    kim.sign_in()
    first, second = kim.token("/portal/sessions"), kim.token("/portal/sessions")
    assert first != second
    for token in (first, second):
        assert kim.post("/portal/probe/any", csrf_token=token).status_code == 200


def test_a_token_from_before_signing_in_or_confirming_is_good_no_more(kim: Holder) -> None:
    public = kim.token("/portal/sign-in")
    kim.sign_in()
    assert kim.post("/portal/probe/any", csrf_token=public).status_code == 403
    before = kim.token("/portal/sessions")
    kim.post("/portal/password", "/portal/sessions", password=kim.password)
    assert kim.post("/portal/probe/any", csrf_token=before).status_code == 403


def test_a_form_without_a_session_is_bound_to_its_visitor(kim: Holder) -> None:
    token = kim.token("/portal/sign-in")
    assert kim.elsewhere().attempt(csrf_token=token).status_code == 403
    stranger = kim.elsewhere()
    stranger.http.set_cookie("cloudpriv-visit", "made.up")
    assert stranger.attempt(csrf_token=token).status_code == 403
    assert kim.attempt(csrf_token=token).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 200),
        ({"Origin": "http://127.0.0.1:8080"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_a_form_that_another_site_sent_does_nothing_even_with_a_token(
    kim: Holder, headers: dict[str, str], status: int
) -> None:
    kim.sign_in()
    assert kim.post("/portal/probe/any", options={"headers": headers}).status_code == status


def test_a_page_that_only_shows_may_be_led_to_from_another_site(kim: Holder) -> None:
    kim.sign_in()
    assert kim.get("/portal/probe/any", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_whoever_is_not_signed_in_sees_no_account_on_public_pages(kim: Holder) -> None:
    assert kim.get(f"/portal/probe/reads?account_id={kim.account_id}").status_code == 404
    kim.sign_in()
    assert kim.get(f"/portal/probe/reads?account_id={kim.account_id}").status_code == 200


def test_a_page_that_fails_leaves_nothing_changed(kim: Holder, services: Services) -> None:
    kim.sign_in()
    assert kim.post("/portal/probe/fails", "/portal/sessions").status_code == 503
    with transaction(services) as tx:
        assert people.read_person(tx, kim.account_id, kim.person_id).identity["name"] == "Kim Example"


def test_while_the_database_is_away_pages_say_so(kim: Holder, app: Flask) -> None:
    kim.sign_in()
    run = app.extensions[EXTENSION]
    nowhere = replace(run.services.controller, engine=db.connect("postgresql+psycopg://x@127.0.0.1:1/x", pool_size=1))
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, controller=nowhere))
    answer = kim.get("/portal/probe/any")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert kim.elsewhere().get("/portal/sign-in").status_code == 200


def test_every_page_of_the_portal_declares_whom_it_serves(app: Flask) -> None:
    pages = [rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/portal/")]
    assert {access_of(app, endpoint).scope for endpoint in pages} == {PUBLIC, HOLDER}


def test_no_page_but_public_ones_shows_anything_without_a_session(app: Flask, kim: Holder) -> None:
    for rule in app.url_map.iter_rules():
        if access_of(app, rule.endpoint).scope != HOLDER or "GET" not in (rule.methods or ()):
            continue
        if not rule.rule.startswith("/portal"):  # the API answers holders, too
            continue
        values = {name: UUID(int=1) for name in rule.arguments}
        with app.test_request_context():
            path = app.url_map.bind("localhost").build(rule.endpoint, values)
        answer = kim.get(path)
        assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/portal/sign-in"), rule.rule


def test_every_form_of_the_portal_needs_its_token(app: Flask, kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in()
    with owner_engine.connect() as connection:
        before = connection.scalar(text("SELECT count(*) FROM audit_events"))
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/portal/") and "POST" in (rule.methods or ()) and rule.rule not in WITHOUT_TOKEN:
            path = app.url_map.bind("localhost").build(rule.endpoint, {name: UUID(int=1) for name in rule.arguments}, "POST")
            assert kim.http.post(path, data={}).status_code == 403, rule.rule
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit_events")) == before


def test_every_page_has_a_way_to_sign_out(kim: Holder) -> None:
    kim.sign_in()
    for path in ("/portal/", "/portal/sessions", "/portal/owners", "/portal/change-password", "/portal/identity"):
        assert 'action="/portal/sign-out"' in kim.get(path).text
