"""What is wrong in a form is said so that nobody misses it: first, with the focus, in the title, and at its field."""

import pytest
from werkzeug.test import TestResponse

from tests.holders import Holder, Time
from tests.portal.reading import Page

NAMES = {"service": "talk2m", "account_name": "nobody", "username": "nobody"}
# Forms in which something is wrong: where the form is, where it goes, and what is filled in.
WRONG = {
    "sign-in, one field empty": ("/portal/sign-in", "/portal/sign-in", {**NAMES, "password": ""}),
    "sign-in, no such person": ("/portal/sign-in", "/portal/sign-in", {**NAMES, "password": "four other words here"}),
    "code": ("/portal/sign-in/code", "/portal/sign-in/code", {**NAMES, "username": ""}),
    "ask": ("/portal/ask", "/portal/ask", {**NAMES, "username": ""}),
    "unsubscribe": ("/portal/unsubscribe", "/portal/unsubscribe", {**NAMES, "username": "", "purpose": "surveys"}),
    "identity": ("/portal/identity", "/portal/identity", {"phones": "+46 " * 30, "version": "1"}),
    "company": ("/portal/identity", "/portal/identity/company", {"company_id": "x" * 65, "version": "1"}),
    "identity, changed elsewhere": ("/portal/identity", "/portal/identity", {"name": "Kim", "version": "7"}),
    "e-mail address": ("/portal/identity/email", "/portal/identity/email", {"email": "nobody", "version": "1"}),
    "objection": ("/portal/requests/new/objection", "/portal/requests/new/objection", {"text": ""}),
    "restriction": ("/portal/requests/new/restriction", "/portal/requests/new/restriction", {"ground": ""}),
    "erasure": ("/portal/requests/new/erasure", "/portal/requests/new/erasure", {}),
    "rectification": ("/portal/requests/new/rectification", "/portal/requests/new/rectification", {"username": "x" * 101}),
    "closing": ("/portal/closing/confirm", "/portal/closing/confirm", {"account_name": "another"}),
    "password": ("/portal/password", "/portal/password", {"password": "not this one"}),
    "new password": ("/portal/change-password", "/portal/change-password", {"password": "short", "again": "short"}),
}
PUBLIC = ("/portal/sign-in", "/portal/sign-in/code", "/portal/ask", "/portal/unsubscribe")


@pytest.fixture
def sent(kim: Holder, time: Time, request: pytest.FixtureRequest) -> TestResponse:
    """The answer to a form in which something is wrong."""
    page, path, form = WRONG[request.param]
    if page not in PUBLIC:
        kim.sign_in()
    if page == "/portal/password":
        time.pass_by(minutes=6)
    return kim.post(path, page, **form)


@pytest.mark.parametrize("sent", WRONG, indirect=True)
def test_the_title_says_first_that_something_is_wrong(sent: TestResponse) -> None:
    assert sent.status_code in (403, 412, 422)
    assert Page(sent.text).words("title").startswith("Error: ")


@pytest.mark.parametrize("sent", WRONG, indirect=True)
def test_what_is_wrong_has_the_focus_and_is_read_out(sent: TestResponse) -> None:
    [focused] = [each for each in Page(sent.text).elements if "autofocus" in each.attributes]
    assert (focused.attributes["role"], focused.attributes["tabindex"]) == ("alert", "-1")
    assert focused.text.strip()


@pytest.mark.parametrize("sent", WRONG, indirect=True)
def test_each_fault_is_tied_to_its_field(sent: TestResponse) -> None:
    page = Page(sent.text)
    known = {each.attributes["id"]: each for each in page.elements if "id" in each.attributes}
    described = [
        each.attributes["aria-describedby"] or "" for each in page.elements if "aria-describedby" in each.attributes
    ]
    assert {name for each in described for name in each.split()} <= known.keys()
    for wrong in page.all("p", class_="error"):
        assert any(wrong.attributes["id"] in each.split() for each in described), wrong.text
    invalid = [each for each in page.elements if each.attributes.get("aria-invalid") == "true"]
    tied = [each for each in page.elements if "fault" in (each.attributes.get("aria-describedby") or "").split()]
    assert len(invalid) == len(page.all("p", class_="error"))
    assert invalid or tied or sent.status_code == 412


@pytest.mark.parametrize("sent", WRONG, indirect=True)
def test_each_line_of_the_summary_leads_to_its_field(sent: TestResponse) -> None:
    page = Page(sent.text)
    invalid = {each.attributes["id"] for each in page.elements if each.attributes.get("aria-invalid") == "true"}
    led = {(each.attributes["href"] or "")[1:] for each in page.all("a") if (each.attributes["href"] or "").startswith("#")}
    assert led - {"content"} == invalid


def test_a_page_without_a_fault_has_a_plain_title_and_takes_no_focus(kim: Holder) -> None:
    for path in ("/portal/sign-in", "/portal/ask", "/portal/unsubscribe"):
        page = Page(kim.get(path).text)
        assert not page.words("title").startswith("Error")
        assert [each for each in page.elements if "autofocus" in each.attributes] == []


def test_a_page_about_a_failure_begins_with_the_failure(kim: Holder) -> None:
    assert Page(kim.get("/portal/nothing").text).words("title").startswith("Page not found")
