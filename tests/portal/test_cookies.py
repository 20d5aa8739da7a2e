"""The portal's cookies: out of reach of scripts, of other hosts and of plain HTTP."""

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.portal import cookies
from tests.holders import Holder

PUBLIC = "https://portal.example.com"


def set_issuer(app: Flask, issuer: str) -> None:
    """Have the app served under this public address."""
    run = app.extensions[EXTENSION]
    settings = replace(run.services.settings, issuer=issuer)
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, settings=settings))


def sent(holder: Holder) -> dict[str, set[str]]:
    """Every cookie that a browser is sent by signing in, with its attributes."""
    answers = [holder.get("/portal/sign-in"), holder.choose_language("sv"), holder.attempt()]
    found = [each for answer in answers for each in answer.headers.getlist("Set-Cookie")]
    return {each.partition("=")[0]: {part.strip().partition("=")[0] for part in each.split(";")[1:]} for each in found}


def test_over_tls_every_cookie_is_of_this_host_alone(app: Flask, kim: Holder) -> None:
    set_issuer(app, PUBLIC)
    found = sent(kim.elsewhere(PUBLIC))
    assert set(found) == {f"__Host-cloudpriv{name}" for name in ("", "-visit", "-device", "-lang")}
    for name, attributes in found.items():
        assert {"Secure", "HttpOnly", "SameSite", "Path"} <= attributes, name
        assert "Domain" not in attributes


def test_every_cookie_is_lax_and_for_all_paths(app: Flask, kim: Holder) -> None:
    set_issuer(app, PUBLIC)
    browser = kim.elsewhere(PUBLIC)
    answers = browser.get("/portal/sign-in"), browser.choose_language("sv"), browser.attempt()
    found = [each for answer in answers for each in answer.headers.getlist("Set-Cookie")]
    assert len(found) >= 4
    for each in found:
        assert "; SameSite=Lax" in each
        assert "; Path=/" in each
        assert "Path=/p" not in each


def test_a_whole_visit_works_under_such_cookies(app: Flask, kim: Holder) -> None:
    set_issuer(app, PUBLIC)
    secure = kim.elsewhere(PUBLIC).sign_in()
    assert secure.get("/portal/sessions").status_code == 200
    assert secure.post("/portal/sign-out", "/portal/sessions").status_code == 303
    assert secure.http.get_cookie("__Host-cloudpriv", domain="portal.example.com") is None


def test_a_cookie_of_the_plain_name_opens_nothing_over_tls(app: Flask, kim: Holder) -> None:
    kim.sign_in()
    plain = kim.http.get_cookie("cloudpriv")
    assert plain is not None
    set_issuer(app, PUBLIC)
    other = app.test_client()
    other.set_cookie("cloudpriv", plain.value, domain="portal.example.com")
    assert other.get("/portal/sessions", base_url=PUBLIC).status_code == 303


@pytest.mark.parametrize(
    ("issuer", "host", "plain"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://127.0.0.1:8080", "localhost", True),
        ("http://localhost:8080", "[::1]:8080", True),
        ("http://127.0.0.1:8080", "portal.example.com", False),
        ("http://portal.example.com", "127.0.0.1", False),
        ("https://127.0.0.1:8080", "127.0.0.1:8080", False),
        ("https://portal.example.com", "127.0.0.1:8080", False),
        ("http://127.0.0.1:8080", "localhost.evil.example", False),
        ("http://127.0.0.1:8080", "127.0.0.1.evil.example:80", False),
    ],
)
def test_only_on_this_machine_itself_cookies_go_without_tls(app: Flask, issuer: str, host: str, plain: bool) -> None:
    set_issuer(app, issuer)
    with app.test_request_context("/portal/", base_url=f"http://{host}"):
        assert cookies.is_plain() is plain


@pytest.mark.parametrize("host", ["[", "a b", "", "127.0.0.1:x", "é", "[::1"])
def test_a_host_that_is_none_is_not_this_machine(app: Flask, host: str) -> None:
    options: dict[str, Any] = {"environ_overrides": {"HTTP_HOST": host}}
    with app.test_request_context("/portal/", **options):
        assert cookies.is_plain() is False


def test_what_a_browser_remembers_names_nobody(kim: Holder) -> None:
    kim.sign_in()
    remembered = kim.http.get_cookie("cloudpriv-device")
    assert remembered is not None
    for told in (*kim.names.values(), str(kim.account_id), kim.account_id.hex, kim.person_id.hex):
        assert told not in remembered.value


def test_it_lets_nobody_in(app: Flask, kim: Holder) -> None:
    kim.sign_in()
    remembered = kim.http.get_cookie("cloudpriv-device")
    assert remembered is not None
    thief = app.test_client()
    for name in ("cloudpriv-device", "cloudpriv", "cloudpriv-visit"):
        thief.set_cookie(name, remembered.value)
    assert thief.get("/portal/sessions").status_code == 303


def test_a_visitors_cookie_that_we_did_not_make_is_replaced(app: Flask) -> None:
    visitor = app.test_client()
    visitor.set_cookie("cloudpriv-visit", "made-up.0000")
    visitor.get("/portal/sign-in")
    made = visitor.get_cookie("cloudpriv-visit")
    assert made is not None
    assert made.value != "made-up.0000"
    visitor.get("/portal/sign-in")
    again = visitor.get_cookie("cloudpriv-visit")
    assert again is not None
    assert again.value == made.value, "ours stays, so that forms of two tabs are both good"


def test_signing_in_ends_the_visitors_cookie(kim: Holder) -> None:
    kim.sign_in()
    assert kim.http.get_cookie("cloudpriv-visit") is None
