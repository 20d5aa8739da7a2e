"""The frame around every page: its headers, its language, its files, and failures told in words."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION, access_of
from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from cloudpriv.controller.people import change_person
from cloudpriv.platform import db, errors
from cloudpriv.portal import assets, i18n, pages
from tests.factories import transaction
from tests.holders import Holder
from tests.portal.reading import Page

EVERYWHERE = [
    "/portal/",
    "/portal/identity",
    "/portal/identity/email",
    "/portal/devices",
    "/portal/traffic",
    "/portal/access",
    "/portal/exports",
    "/portal/exports/new",
    "/portal/requests",
    "/portal/requests/new",
    "/portal/requests/new/rectification",
    "/portal/requests/new/restriction",
    "/portal/requests/new/erasure",
    "/portal/closing",
    "/portal/closing/confirm",
    "/portal/ask",
    "/portal/nothing",
    "/portal/traffic?from=nonsense",
]
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
FAULTS: list[tuple[Exception, int]] = [
    (errors.ForbiddenError(), 403),
    (errors.NotFoundError(), 404),
    (errors.AccountClosingError(), 409),
    (errors.GoneError(), 410),
    (errors.StaleError(), 412),
    (errors.InvalidError(), 422),
    (errors.AccountRestrictedError(), 423),
    (errors.RateLimitedError(), 429),
    (RuntimeError("canary"), 500),
    (errors.BusyError(), 503),
]


@pytest.fixture
def unforgiving(app: Flask) -> Iterator[Flask]:
    """The app as it answers in production, where a fault of ours is a page too."""
    app.testing = False
    yield app
    app.testing = True


def test_whoever_asks_for_the_address_alone_is_led_to_the_portal(app: Flask) -> None:
    answer = app.test_client().get("/")
    assert (answer.status_code, answer.location) == (302, "/portal/")


def test_a_visitor_is_asked_to_sign_in(app: Flask) -> None:
    answer = app.test_client().get("/portal/")
    assert (answer.status_code, answer.location) == (303, "/portal/sign-in")


@pytest.mark.parametrize(
    "path", [*EVERYWHERE, "/", "/portal", "/portal/sign-in", "/portal/language", "/portal/static/x/portal.css"]
)
def test_every_answer_carries_the_headers_that_browsers_obey(kim: Holder, path: str) -> None:
    headers = kim.sign_in().get(path).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in headers


def test_browsers_are_held_to_tls_where_the_public_address_has_it(services: Services) -> None:
    behind_tls = replace(services, settings=replace(services.settings, issuer="https://privacy.example.com"))
    answer = create_app(behind_tls).test_client().get("/portal/nothing")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


def test_the_api_keeps_its_own_headers_and_problems(app: Flask) -> None:
    answer = app.test_client().get("/v1/nothing")
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Content-Security-Policy"] != POLICY


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_page_is_whole(kim: Holder, path: str) -> None:
    page = Page(kim.sign_in().get(path).text)
    assert page.one("html").attributes["lang"] == "en"
    assert page.words("h1")
    assert page.words("h1") in page.words("title") or path == "/portal/"
    assert page.one("a", class_="skip").attributes["href"] == "#" + str(page.one("main").attributes["id"])
    assert len(page.all("header")) == len(page.all("footer")) == 1
    ids = [each.attributes["id"] for each in page.elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    referred = [
        each.attributes[name]
        for each in page.elements
        for name in ("for", "aria-labelledby", "aria-describedby", "popovertarget")
        if each.attributes.get(name)
    ]
    assert {one for each in referred for one in str(each).split()} <= set(ids)


@pytest.mark.parametrize("path", EVERYWHERE)
def test_no_page_needs_inline_code(kim: Holder, path: str) -> None:
    page = Page(kim.sign_in().get(path).text)
    assert not page.all("style")
    assert all(each.attributes.get("src") and not each.text.strip() for each in page.all("script"))
    assert not [each for each in page.elements for name in each.attributes if name == "style" or name.startswith("on")]


def test_the_navigation_says_which_page_is_shown(kim: Holder) -> None:
    page = Page(kim.sign_in().get("/portal/traffic").text)
    assert page.words("a", aria_current="page") == "Traffic"


def test_every_page_in_the_navigation_opens(kim: Holder) -> None:
    page = Page(kim.sign_in().get("/portal/").text)
    links = [str(each.attributes["href"]) for each in page.all("a") if str(each.attributes["href"]).startswith("/portal/")]
    assert len(links) > 5
    assert {kim.get(link).status_code for link in links} <= {200, 303}


def test_a_member_is_offered_no_page_that_is_the_owners_alone(kim: Holder, alex: Holder) -> None:
    of_owner, of_member = (
        {str(each.attributes["href"]) for each in Page(holder.sign_in().get("/portal/").text).all("a")}
        for holder in (kim, alex)
    )
    assert {"/portal/devices", "/portal/owners"} <= of_owner - of_member
    refused = {link for link in of_member if link.startswith("/portal/") and alex.get(link).status_code == 403}
    assert refused == set()
    assert "/portal/traffic" in {str(each.attributes["href"]) for each in Page(alex.get("/portal/devices").text).all("a")}


def test_a_page_is_in_the_language_that_the_browser_asks_for(app: Flask) -> None:
    for asked, shown in (("sv-SE,sv;q=0.9", "sv"), ("fr", "fr"), ("es-MX", "es"), ("de, en;q=0.5", "en"), ("de", "en")):
        answer = app.test_client().get("/portal/nothing", headers={"Accept-Language": asked})
        assert Page(answer.text).one("html").attributes["lang"] == shown


def test_a_persons_own_language_goes_before_the_browsers(kim: Holder, services: Services) -> None:
    with transaction(services) as tx:
        change_person(tx, kim.account_id, kim.person_id, 1, {"locale": "fr-BE"})
    answer = kim.sign_in().get("/portal/", headers={"Accept-Language": "es"})
    assert Page(answer.text).one("html").attributes["lang"] == "fr"


def test_the_language_that_was_chosen_goes_before_all(kim: Holder) -> None:
    answer = kim.sign_in().choose_language("sv", "/portal/traffic?from=2026-01-01")
    assert (answer.status_code, answer.location) == (303, "/portal/traffic?from=2026-01-01")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("cloudpriv-lang=sv;")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = Page(kim.get("/portal/", headers={"Accept-Language": "es"}).text)
    assert page.one("html").attributes["lang"] == "sv"
    assert page.words("button", aria_current="true") == "Svenska"


def test_a_language_that_we_do_not_speak_changes_nothing(kim: Holder) -> None:
    assert "Set-Cookie" not in kim.choose_language("tlh").headers


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/v1/accounts", "/portal//evil", "javascript:1", ""]
)
def test_the_change_of_language_leads_nowhere_else(kim: Holder, elsewhere: str) -> None:
    assert kim.choose_language("sv", elsewhere).location == "/portal/"


def test_the_address_of_a_page_is_in_no_query_when_its_language_is_changed(kim: Holder) -> None:
    page = Page(kim.get("/portal/unsubscribe/secret").text)
    form = page.one("form", class_="languages")
    assert (form.attributes["method"], form.attributes["action"]) == ("post", "/portal/language")
    assert page.one("input", name="next").attributes["value"] == "/portal/unsubscribe/secret"
    assert kim.get("/portal/language?to=sv").status_code == 405


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_no_other_site_changes_the_language(kim: Holder, headers: dict[str, str]) -> None:
    answer = kim.choose_language("sv", headers=headers)
    assert answer.status_code == 403
    assert "lang=" not in answer.headers.get("Set-Cookie", "")


def test_nobody_is_led_to_the_host_that_a_header_names(kim: Holder, app: Flask) -> None:
    kim.sign_in()
    paths = {rule.rule.rstrip("/") or "/" for rule in app.url_map.iter_rules() if "<" not in rule.rule}
    answers = [kim.get(path, headers={"Host": "evil.example"}) for path in sorted(paths | {"/portal/sign-in?next=/portal/"})]
    answers.append(app.test_client().get("/portal", headers={"Host": "evil.example"}))
    assert [each.location for each in answers if "evil" in str(each.location)] == []
    assert (answers[-1].status_code, answers[-1].location) == (308, "/portal/")


def test_files_are_kept_for_ever_at_an_address_of_their_content(app: Flask) -> None:
    page = Page(app.test_client().get("/portal/nothing").text)
    address = str(page.one("link", rel="stylesheet").attributes["href"])
    answer = app.test_client().get(address)
    assert (answer.status_code, answer.content_type) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["Cache-Control"]


def test_a_file_of_another_release_is_not_kept(app: Flask) -> None:
    answer = app.test_client().get("/portal/static/0123456789abcdef/portal.css")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize("name", ["nothing.css", "..%2Fapp.py", "portal.css%00"])
def test_nothing_but_the_files_of_the_frame_is_served(app: Flask, name: str) -> None:
    assert app.test_client().get(f"/portal/static/0/{name}").status_code == 404


def test_the_style_sheet_is_small(app: Flask) -> None:
    assert len(assets.ASSETS["portal.css"].content) < 12_000
    assert len(assets.ASSETS["portal.js"].content) < 2_000


@pytest.mark.parametrize(("fault", "status"), FAULTS, ids=lambda value: str(value) if isinstance(value, int) else "")
def test_a_failure_of_a_page_is_told_in_words(
    unforgiving: Flask, kim: Holder, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    def fail() -> None:
        raise fault

    monkeypatch.setitem(unforgiving.view_functions, "frame.choose_language", fail)
    answer = kim.choose_language("sv", headers={"Accept-Language": "sv"})
    assert (answer.status_code, answer.content_type) == (status, "text/html; charset=utf-8")
    page = Page(answer.text)
    assert page.words("h1")
    assert "canary" not in answer.text
    assert str(status) in page.one("main").text
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    assert "WWW-Authenticate" not in answer.headers


def test_every_failure_that_pages_know_has_its_own_words(app: Flask) -> None:
    with app.test_request_context("/portal/"):
        told = [(str(title), str(advice)) for title, advice in pages.ERRORS.values()]
    assert len({advice for _, advice in told}) == len(told)


def test_what_a_page_does_not_take_is_refused_in_words(kim: Holder) -> None:
    answer = kim.http.delete("/portal/identity")
    assert (answer.status_code, answer.content_type) == (405, "text/html; charset=utf-8")
    assert "GET" in answer.headers["Allow"]


def test_pages_say_so_while_the_database_is_away(unforgiving: Flask, kim: Holder, services: Services) -> None:
    kim.sign_in()
    nobody = db.connect("postgresql+psycopg://nobody@127.0.0.1:1/none", pool_size=1)
    run = unforgiving.extensions[EXTENSION]
    away = replace(run.services, controller=replace(services.controller, engine=nobody))
    unforgiving.extensions[EXTENSION] = replace(run, services=away)
    answer = kim.get("/portal/")
    assert (answer.status_code, answer.content_type) == (503, "text/html; charset=utf-8")
    assert "Retry-After" in answer.headers
    nobody.dispose()


def test_every_route_of_the_portal_says_what_it_demands(app: Flask) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/portal")]
    assert len(rules) > 10
    assert all(access_of(app, rule.endpoint) for rule in rules)


def test_sizes_periods_and_times_are_written_in_the_readers_language(app: Flask) -> None:
    with app.test_request_context("/portal/", headers={"Accept-Language": "fr"}):
        assert i18n.size(1_250_000).replace("\u202f", " ").replace("\xa0", " ") == "1,2 Mo"
        assert i18n.size(0).startswith("0")
        assert i18n.size(999_999).replace("\u202f", " ").replace("\xa0", " ") == "1 Mo"
        assert "11" in i18n.duration(11 * 60)
    with app.test_request_context("/portal/", headers={"Accept-Language": "sv"}):
        assert i18n.month("2026-02") == "feb. 2026"


def test_pages_are_no_part_of_the_apis_description(app: Flask) -> None:
    described = app.test_client().get("/openapi.json")
    assert described.status_code == 200
    assert not [path for path in described.get_json()["paths"] if path == "/" or path.startswith("/portal")]
    assert app.test_client().get("/docs").status_code == 200
