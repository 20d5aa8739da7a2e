"""Signing in to the portal: the right password begins a session, and nothing tells who exists."""

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, event, text
from werkzeug.test import TestResponse

from cloudpriv.bootstrap import Services
from cloudpriv.controller.tables import Account, Person
from cloudpriv.portal.browsers import family
from tests.factories import make_account, transaction
from tests.holders import Holder, Time, make_holder

WRONG: list[dict[str, str]] = [
    {"password": "wrong"},
    {"username": "nobody"},
    {"account_name": "nothing"},
    {"service": "intesis"},
]
VARYING = re.compile('value="[^"]*"( selected)?')


def without_values(answer: TestResponse) -> str:
    """A page without what was filled in and its token, which differ by nature."""
    return VARYING.sub("", answer.text)


def cookies_of(answer: TestResponse) -> dict[str, str]:
    """The cookies that an answer sets, with their attributes."""
    return {each.partition("=")[0]: each for each in answer.headers.getlist("Set-Cookie")}


def test_the_right_password_begins_a_session_and_leads_to_the_first_page(kim: Holder) -> None:
    answer = kim.attempt()
    assert (answer.status_code, answer.location) == (303, "/portal/")
    assert kim.get("/portal/").status_code == 200


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_the_answer_is_the_same(kim: Holder, wrong: dict[str, str]) -> None:
    refused, other = kim.attempt(**wrong), kim.attempt(password="quite another")
    assert (refused.status_code, other.status_code) == (403, 403)
    assert without_values(refused) == without_values(other)
    assert cookies_of(refused).keys() == cookies_of(other).keys()
    assert kim.get("/portal/").status_code == 303


@pytest.mark.parametrize("wrong", [{"account_name": "nothing"}, {"username": "nobody"}])
def test_whatever_is_wrong_the_work_is_the_same(kim: Holder, services: Services, wrong: dict[str, str]) -> None:
    sent: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        sent.append(statement)

    def attempt(**changes: str) -> list[str]:
        token = kim.token("/portal/sign-in")
        sent.clear()
        kim.attempt(password="quite another", csrf_token=token, **changes)
        return sent.copy()

    event.listen(services.controller.engine, "before_cursor_execute", note)
    try:
        known = attempt()
        assert len(known) >= 3
        assert attempt(**wrong) == known
    finally:
        event.remove(services.controller.engine, "before_cursor_execute", note)


def test_a_wrong_password_is_not_written_back(kim: Holder) -> None:
    assert "not-to-be-shown" not in kim.attempt(password="not-to-be-shown").text


@pytest.mark.parametrize(
    "missing", [{"password": ""}, {"username": ""}, {"account_name": " "}, {"service": "other"}, {"password": "x" * 1025}]
)
def test_a_form_that_is_not_filled_in_is_no_attempt(kim: Holder, missing: dict[str, str], owner_engine: Engine) -> None:
    assert kim.attempt(**missing).status_code == 422
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit_events WHERE action = 'credentials.reject'")) == 0


def test_the_page_that_was_asked_for_comes_after_signing_in(kim: Holder) -> None:
    led = kim.get("/portal/sessions")
    assert (led.status_code, led.location) == (303, "/portal/sign-in?next=%2Fportal%2Fsessions")
    assert 'name="next" value="/portal/sessions"' in kim.get(led.location).text
    assert kim.attempt(next="/portal/sessions").location == "/portal/sessions"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/portal/",
        "//evil.example/portal/",
        "/\\evil.example/portal/",
        "/portal/\\evil.example",
        "/portal//evil.example",
        "/portal/../v1/accounts",
        "/portal/\r\nSet-Cookie: a=b",
        "/portalx",
        "javascript:alert(1)",
        "portal/",
        "",
    ],
)
def test_nobody_is_led_to_another_site(kim: Holder, elsewhere: str) -> None:
    assert kim.attempt(next=elsewhere).location == "/portal/"


def test_signing_in_never_goes_on_under_a_cookie_that_was_there_before(kim: Holder, app: Flask) -> None:
    kim.sign_in()
    before = kim.http.get_cookie("cloudpriv")
    assert before is not None
    assert kim.attempt(csrf_token=kim.token("/portal/sessions")).status_code == 303
    after = kim.http.get_cookie("cloudpriv")
    assert after is not None
    assert after.value != before.value
    thief = app.test_client()
    thief.set_cookie("cloudpriv", before.value)
    assert thief.get("/portal/").status_code == 303, "the one from before has ended"


def test_a_cookie_of_somebody_elses_choice_is_not_adopted(kim: Holder) -> None:
    kim.http.set_cookie("cloudpriv", "A" * 86)
    kim.sign_in()
    found = kim.http.get_cookie("cloudpriv")
    assert found is not None
    assert found.value != "A" * 86


def test_signing_out_ends_the_session_and_a_copy_of_its_cookie_opens_nothing(kim: Holder, app: Flask) -> None:
    kim.sign_in()
    copied = kim.http.get_cookie("cloudpriv")
    assert copied is not None
    answer = kim.post("/portal/sign-out", "/portal/sessions")
    assert (answer.status_code, answer.location) == (303, "/portal/sign-in")
    assert kim.http.get_cookie("cloudpriv") is None
    thief = app.test_client()
    thief.set_cookie("cloudpriv", copied.value)
    assert thief.get("/portal/").status_code == 303


def test_a_session_shows_its_own_account_and_no_other(kim: Holder, app: Flask, services: Services) -> None:
    other = make_holder(app, services, username="robin", name="Robin Elsewhere").sign_in()
    kim.sign_in()
    assert str(other.account_id) not in kim.get("/portal/").text
    mine, theirs = kim.http.get_cookie("cloudpriv"), other.http.get_cookie("cloudpriv")
    assert mine is not None
    assert theirs is not None
    mixed = app.test_client()
    mixed.set_cookie("cloudpriv", theirs.value[:43] + mine.value[43:])
    assert mixed.get("/portal/").status_code == 303


@pytest.mark.parametrize("status", ["restricted", "closing"])
def test_people_of_a_restricted_or_closing_account_sign_in_to_use_their_rights(
    kim: Holder, services: Services, status: str
) -> None:
    with transaction(services) as tx:
        tx.session.get_one(Account, kim.account_id).status = status
    assert kim.attempt().status_code == 303
    assert kim.get("/portal/").status_code == 200


def test_a_restricted_person_signs_in_too(kim: Holder, services: Services, time: Time) -> None:
    with transaction(services) as tx:
        tx.session.get_one(Person, (kim.account_id, kim.person_id)).restricted_at = time.now
    assert kim.attempt().status_code == 303
    assert kim.get("/portal/").status_code == 200


def test_a_session_ends_after_half_an_hour_without_use(kim: Holder, time: Time) -> None:
    kim.sign_in()
    time.pass_by(minutes=29)
    assert kim.get("/portal/").status_code == 200
    time.pass_by(minutes=30)
    assert kim.get("/portal/").location == "/portal/sign-in"


def test_who_comes_back_to_a_session_that_is_over_is_told_so(kim: Holder, time: Time) -> None:
    told = "You are signed out: a sign-in ends after 30 minutes without use"
    assert told not in kim.get("/portal/sign-in").text
    kim.sign_in()
    time.pass_by(minutes=31)
    assert told in kim.get(str(kim.get("/portal/identity").location)).text
    kim.sign_in().post("/portal/sign-out", "/portal/")
    assert told not in kim.get("/portal/sign-in").text, "whoever signs out knows it"


def test_a_session_ends_after_twelve_hours(kim: Holder, time: Time) -> None:
    kim.sign_in()
    for _ in range(35):
        time.pass_by(minutes=20)
        assert kim.get("/portal/").status_code == 200
    time.pass_by(minutes=20)
    assert kim.get("/portal/").status_code == 303


def test_what_was_done_is_audited_by_whose_name_it_was_done_in(kim: Holder, owner_engine: Engine) -> None:
    kim.attempt(password="wrong")
    kim.sign_in()
    kim.post("/portal/sign-out", "/portal/sessions")
    query = text(
        "SELECT action, actor_kind, actor_id FROM audit_events WHERE action ~ '^(credentials|session)[.]' "
        "AND action NOT IN ('credentials.change', 'session.read') ORDER BY event_id"
    )
    with owner_engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(query)] == [
            ("credentials.reject", "client", "unauthenticated"),
            ("credentials.verify", "client", "unauthenticated"),
            ("session.create", "owner", str(kim.person_id)),
            ("session.end", "owner", str(kim.person_id)),
        ]


def test_the_page_is_in_the_persons_language_once_they_are_signed_in(app: Flask, services: Services) -> None:
    robin = make_holder(app, services, make_account(services).row.account_id, username="robin", locale="sv-SE")
    assert '<html lang="en"' in robin.get("/portal/sign-in", headers={"Accept-Language": "en"}).text
    robin.sign_in()
    assert '<html lang="sv"' in robin.get("/portal/sessions", headers={"Accept-Language": "en"}).text


AGENTS: dict[str, Any] = {
    "Firefox, Windows": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Edge, Windows": "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
    "Chrome, Android": "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
    "Safari, iOS": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Safari/604.1",
    "": "curl/8",
}


@pytest.mark.parametrize("expected", AGENTS)
def test_of_a_browser_its_family_and_system_are_known_and_nothing_else(expected: str) -> None:
    assert family(AGENTS[expected]) == expected


def test_a_browser_without_a_name_signs_in_too(kim: Holder) -> None:
    answer = kim.attempt(options={"headers": {"User-Agent": ""}})
    assert answer.status_code == 303
    assert family(None) == ""


def test_a_session_begun_lasts_no_longer_than_its_browser_is_open(kim: Holder) -> None:
    sent = cookies_of(kim.attempt())
    assert "Max-Age" not in sent["cloudpriv"]
    assert "Expires" not in sent["cloudpriv"]
    assert f"Max-Age={int(timedelta(days=180).total_seconds())}" in sent["cloudpriv-device"]
