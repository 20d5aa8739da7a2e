"""The pages of requests: each of the seven made, followed to its answer, withdrawn; what staff entered stands there too."""

from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from cloudpriv.api.request_schemas import shown
from cloudpriv.bootstrap import Services
from cloudpriv.rights import handling, requests, restriction
from cloudpriv.rights.requests import KnownRequest
from tests.factories import transaction
from tests.holders import Holder, Time, make_holder
from tests.portal.reading import Page
from tests.requests import DOCUMENTS, owner

LIST = "/portal/requests"
FORMS: dict[str, dict[str, str]] = {
    "access": {},
    "portability": {"about": "person", "language": "fr"},
    "rectification": {"text": "The pump is not mine."},
    "restriction": {"ground": "claims", "text": "A case is pending."},
    "objection": {"text": "I am on a list of <witnesses>.", "restrict": "yes"},
    "consent_withdrawal": {"about": "person"},
}


def ask(holder: Holder, type_: str, /, **form: str) -> str:
    """Make a request; where that leads."""
    answer = holder.post(f"{LIST}/new/{type_}", **form)
    assert answer.status_code == 303, answer.text
    return str(answer.location)


def stored(services: Services, holder: Holder) -> list[KnownRequest]:
    with transaction(services, owner(holder.account_id, holder.person_id)) as tx:
        return requests.list_requests(tx, holder.account_id, after=None, limit=50)


@pytest.mark.parametrize("type_", FORMS)
def test_each_right_is_used_with_the_password_just_given(kim: Holder, services: Services, type_: str) -> None:
    where = ask(kim.sign_in(), type_, **FORMS[type_])
    assert kim.get(where).status_code == 200
    [known] = stored(services, kim)
    assert (known.row.type, known.row.channel, known.row.identity_method) == (type_, "portal", "password")
    assert known.row.identity_verified_by == f"owner:{kim.person_id}"
    assert len(Page(kim.get(LIST).text).rows()) == 2


@pytest.mark.parametrize("type_", [*FORMS, "erasure"])
def test_every_request_asks_for_the_password_again(kim: Holder, services: Services, time: Time, type_: str) -> None:
    token = kim.sign_in().token(f"{LIST}/new/{type_}")
    time.pass_by(minutes=6)
    assert str(kim.get(f"{LIST}/new/{type_}").location).startswith("/portal/password")
    answer = kim.post(f"{LIST}/new/{type_}", csrf_token=token, sure="yes", **FORMS.get(type_, {}))
    assert answer.location == f"/portal/password?next=%2Fportal%2Frequests%2Fnew%2F{type_}"
    assert stored(services, kim) == []


def test_a_copy_is_followed_on_the_page_of_its_export(kim: Holder) -> None:
    assert ask(kim.sign_in(), "access").startswith("/portal/exports/")
    assert ask(kim, "portability").startswith("/portal/exports/")


def test_a_copy_that_could_not_be_made_is_not_told_to_be_on_its_way(kim: Holder, owner_engine: Engine) -> None:
    export = ask(kim.sign_in(), "access")
    request_id = kim.get(LIST).text.partition(f'href="{LIST}/0')[2][:35]
    where = f"{LIST}/0{request_id}"
    assert "The archive is being made." in kim.get(where).text
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE exports SET status = 'failed', failure = 'internal', expires_at = now()"))
    page = Page(kim.get(where).text)
    assert "could not be made" in page.words("div", role="status")
    assert "is being made" not in page.one("main").text
    assert page.words("a", href=export) == "To the export"


def test_names_are_corrected_at_once_and_words_wait_for_staff(kim: Holder, services: Services) -> None:
    where = ask(kim.sign_in(), "rectification", username="kim.e", account_name="acme-sewage", text="My role is wrong.")
    assert where == LIST
    assert sorted((known.row.status, known.row.scope) for known in stored(services, kim)) == [
        ("completed", "account"), ("completed", "person"), ("in_progress", "account"),
    ]  # fmt: skip
    kim.names |= {"username": "kim.e", "account_name": "acme-sewage"}
    assert kim.elsewhere().attempt().status_code == 303


def test_a_name_that_is_taken_changes_nothing(kim: Holder, alex: Holder, services: Services) -> None:
    answer = kim.sign_in().post(f"{LIST}/new/rectification", username="alex", text="and more")
    assert answer.status_code == 409
    page = Page(answer.text)
    assert page.words("a", href="#f-username") == "Username: This name is taken. Choose another one."
    field = page.one("input", name="username").attributes
    assert (field["value"], field["aria-invalid"]) == ("alex", "true")
    assert page.one("input", name="account_name").attributes.get("aria-invalid") is None
    assert stored(services, kim) == []
    assert alex.attempt().status_code == 303


def test_the_name_of_an_account_that_is_taken_is_told_at_its_field(kim: Holder, app: Flask, services: Services) -> None:
    other = make_holder(app, services)
    answer = kim.sign_in().post(f"{LIST}/new/rectification", username="kim.e", account_name=other.names["account_name"])
    page = Page(answer.text)
    assert answer.status_code == 409
    assert page.one("input", name="account_name").attributes["aria-invalid"] == "true"
    assert page.one("input", name="username").attributes.get("aria-invalid") is None
    assert stored(services, kim) == []


def test_what_was_chosen_from_a_list_is_not_told_as_somebodys_words(kim: Holder, services: Services) -> None:
    chosen = "The data is wrong, and you are checking it (Article 18(1)(a))"
    page = Page(kim.sign_in().get(ask(kim, "restriction", ground="accuracy", text="The serial is another.")).text)
    facts = dict(zip((each.text for each in page.all("dt")), (each.text for each in page.all("dd")), strict=True))
    assert (facts["Why"], facts["In your words"]) == (chosen, "The serial is another.")
    [known] = stored(services, kim)
    assert known.details.get("why") == chosen
    assert (shown(known)["why"], shown(known)["text"]) == (chosen, "The serial is another.")


def test_whoever_chose_and_wrote_nothing_has_no_words(kim: Holder) -> None:
    page = kim.sign_in().get(ask(kim, "restriction", ground="claims")).text
    assert "Article 18(1)(c)" in page
    assert "In your words" not in page


def test_the_erasure_of_an_account_is_called_its_closing(kim: Holder, services: Services) -> None:
    kim.sign_in().post("/portal/closing/confirm", account_name=kim.names["account_name"])
    [known] = stored(services, kim)
    assert (known.row.type, known.row.scope) == ("erasure", "account")
    assert Page(kim.get(LIST).text).rows()[1][:2] == ["Closing of the account", "The account"]
    assert Page(kim.get(f"{LIST}/{known.row.request_id}").text).words("h1") == "Closing of the account"


@pytest.mark.parametrize(
    ("type_", "form", "told"),
    [
        ("rectification", {}, "Change a name above"),
        ("rectification", {"username": " "}, "between 1 and 100"),
        ("rectification", {"username": "x" * 101}, "between 1 and 100"),
        ("rectification", {"text": "x" * 4001}, "at most 4,000"),
        ("restriction", {"text": "because"}, "Choose what applies"),
        ("restriction", {"ground": "other"}, "Choose what applies"),
        ("objection", {"text": "  "}, "Write what you object to"),
        ("erasure", {}, "Tick this"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_asked(
    kim: Holder, services: Services, type_: str, form: dict[str, str], told: str
) -> None:
    answer = kim.sign_in().post(f"{LIST}/new/{type_}", **form)
    assert answer.status_code == 422
    assert told in answer.text
    assert stored(services, kim) == []


def test_a_person_has_themselves_erased_and_is_gone(
    kim: Holder, alex: Holder, services: Services, owner_engine: Engine
) -> None:
    answer = alex.sign_in().post(f"{LIST}/new/erasure", sure="yes")
    assert answer.status_code == 200
    assert "The data has been erased" in answer.text
    assert Page(answer.text).all("nav") == []
    assert str(alex.get("/portal/").location) == "/portal/sign-in"
    assert alex.elsewhere().attempt().status_code == 403
    [known] = stored(services, kim)
    assert (known.row.status, known.row.person_id) == ("completed", None)
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM people")) == 1
        assert connection.scalar(text("SELECT status FROM accounts")) == "active"


def test_an_erasure_that_waits_for_staff_is_followed_on_its_page(kim: Holder, services: Services) -> None:
    with transaction(services) as tx:
        restriction.restrict_person(tx, kim.account_id, kim.person_id)
    kim.sign_in()
    answer = kim.post(f"{LIST}/new/erasure", sure="yes")
    assert answer.status_code == 303
    assert "Our staff looks into it" in kim.get(str(answer.location)).text


def test_nobody_closes_an_account_by_the_form_of_their_own_erasure(kim: Holder, alex: Holder, owner_engine: Engine) -> None:
    kim.sign_in().post(f"{LIST}/new/erasure", sure="yes", about="account")
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM accounts")) == "active"
        assert connection.scalar(text("SELECT count(*) FROM people")) == 1


def test_a_member_asks_and_sees_what_is_about_themselves(kim: Holder, alex: Holder, services: Services) -> None:
    of_account = ask(kim.sign_in(), "objection", text="The account's.")
    alex.sign_in()
    own = ask(alex, "objection", text="Mine.")
    assert alex.get(of_account).status_code == 404
    assert alex.post(f"{of_account}/withdraw", own).status_code == 404
    assert len(Page(alex.get(LIST).text).rows()) == 2
    assert alex.post(f"{LIST}/new/objection", about="account", text="x").status_code == 403
    form = {"account_name": "mine now"}
    assert alex.post(f"{LIST}/new/rectification", **form).status_code == 422
    assert len(stored(services, kim)) == 2


def test_an_owner_sees_what_others_ask_and_withdraws_it_not(kim: Holder, alex: Holder) -> None:
    of_alex = ask(alex.sign_in(), "objection", text="Mine.")
    own = ask(kim.sign_in(), "objection", text="The account's.")
    page = kim.get(of_alex).text
    assert "Withdraw this request" not in page
    assert "Mine." not in page
    assert kim.post(f"{of_alex}/withdraw", own).status_code == 403


@pytest.mark.parametrize("type_", ["restriction", "objection"])
def test_what_a_restriction_costs_is_told_before_it_is_asked_for(kim: Holder, alex: Holder, type_: str) -> None:
    own, whole = "you cannot sign in to the cloud service", "nobody in it can sign in to the cloud service"
    page = kim.sign_in().get(f"{LIST}/new/{type_}").text
    before_button = page.partition('<button type="submit">Make the request')[0]
    for told in (own, whole, "traffic of its devices is not taken in", "Here you can still sign in"):
        assert told in before_button
    page = alex.sign_in().get(f"{LIST}/new/{type_}").text
    assert own in page
    assert whole not in page


def test_what_stops_much_is_about_oneself_unless_said_otherwise(kim: Holder) -> None:
    kim.sign_in()
    chosen = {
        type_: [each.attributes["value"] for each in Page(kim.get(f"{LIST}/new/{type_}").text).all("option")
                if "selected" in each.attributes and each.attributes["value"] in ("account", "person")]
        for type_ in FORMS
    }  # fmt: skip
    account = {each: ["account"] for each in ("access", "portability", "rectification", "consent_withdrawal")}
    assert chosen == {**account, "restriction": ["person"], "objection": ["person"]}


def test_the_banner_says_what_is_stopped(kim: Holder) -> None:
    ask(kim.sign_in(), "restriction", ground="claims", about="person")
    assert "You cannot sign in to the cloud service." in Page(kim.get("/portal/").text).words("div", role="status")
    kim.post("/portal/restriction/lift", "/portal/", about="person")
    ask(kim, "restriction", ground="claims", about="account")
    banner = Page(kim.get("/portal/").text).words("div", role="status")
    assert "Nobody in the account can sign in to the cloud service, and traffic of its devices is not taken in." in banner


@pytest.mark.parametrize("about", ["account", "person"])
def test_a_restriction_that_was_lifted_since_is_not_told_to_last(kim: Holder, about: str) -> None:
    where = ask(kim.sign_in(), "restriction", ground="claims", about=about)
    lasts, over = "The processing is restricted: the data is stored", "It is no longer: the restriction has ended since."
    page = Page(kim.get(where).text).one("main").text
    assert lasts in page
    assert over not in page
    kim.post("/portal/restriction/lift", "/portal/", about=about)
    page = Page(kim.get(where).text).one("main").text
    assert lasts not in page
    assert over in page


def test_a_request_is_withdrawn_and_what_it_restricted_is_free(
    kim: Holder, services: Services, owner_engine: Engine
) -> None:
    where = ask(kim.sign_in(), "objection", **FORMS["objection"])
    page = kim.get(where).text
    assert "Our staff looks into it" in page
    assert "The processing of this account is restricted" in page
    assert "&lt;witnesses&gt;" in page
    assert kim.post(f"{where}/withdraw", where).location == where
    after = kim.get(where).text
    assert "This request was withdrawn" in after
    assert "Withdraw this request" not in after
    assert [known.row.status for known in stored(services, kim)] == ["withdrawn"]
    assert "is restricted" not in after


def test_a_refusal_names_ground_reason_authority_and_court(kim: Holder, services: Services) -> None:
    where = ask(kim.sign_in(), "objection", text="Stop.")
    with transaction(services) as tx:
        handling.refuse(tx, services.policy, UUID(where.rpartition("/")[2]), "compelling_grounds", "Safety needs it.")
    main = Page(kim.get(where).text).one("main").text
    for told in ("We have refused", "compelling legitimate grounds", "Article 21(1)", "Safety needs it.", "go to court"):
        assert told in main
    assert services.policy.supervisory_authority.name["en"] in main
    assert services.policy.supervisory_authority.website in main


def test_an_extension_and_its_reason_are_told(kim: Holder, services: Services) -> None:
    where = ask(kim.sign_in(), "objection", text="Stop.")
    assert "1 July 2026" in kim.get(where).text
    with transaction(services) as tx:
        requests.extend(tx, services.policy, UUID(where.rpartition("/")[2]), "Seventy people are concerned.")
    main = Page(kim.get(where).text).one("main").text
    assert "Seventy people are concerned." in main
    assert "1 September 2026" in main


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"channel": "letter", "identity": DOCUMENTS},
            ("by letter, entered by our staff", "by documents that our staff checked"),
        ),
        ({"channel": "mail", "identity": None}, ("by mail, entered by our staff", "We find out who asks")),
    ],
)
def test_what_staff_entered_stands_there_too(
    kim: Holder, services: Services, given: dict[str, Any], told: tuple[str, str]
) -> None:
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, kim.account_id, "objection", **given)
    page = Page(kim.sign_in().get(f"{LIST}/{known.row.request_id}").text)
    for words in told:
        assert words in page.words("section", aria_labelledby="steps")
    assert len(Page(kim.get(LIST).text).rows()) == 2


def test_a_second_one_leads_to_the_one_that_answers_it(kim: Holder) -> None:
    first = ask(kim.sign_in(), "objection", text="Stop.")
    second = ask(kim, "objection", text="Stop.")
    assert first != second
    assert len(Page(kim.get(second).text).all("a", href=first)) == 1


def test_the_closing_of_the_account_is_a_request_that_is_undone_there(kim: Holder, services: Services) -> None:
    kim.sign_in().post("/portal/closing/confirm", account_name=kim.names["account_name"])
    [known] = stored(services, kim)
    page = Page(kim.get(f"{LIST}/{known.row.request_id}").text)
    assert "Carried out from 15 Jun 2026, 12:00 UTC" in page.words("section", aria_labelledby="steps")
    assert page.all("form", action="/portal/closing/undo")
    assert not page.all("form", action=f"{LIST}/{known.row.request_id}/withdraw")


def test_a_type_that_is_none_is_not_found(kim: Holder) -> None:
    assert kim.sign_in().get(f"{LIST}/new/everything").status_code == 404
    assert kim.post(f"{LIST}/new/everything", f"{LIST}/new/access").status_code == 404


@pytest.mark.parametrize("language", ["en", "sv", "fr", "es"])
def test_every_form_opens_in_every_language(kim: Holder, language: str) -> None:
    kim.sign_in().choose_language(language)
    pages = [Page(kim.get(f"{LIST}/new/{type_}").text) for type_ in (*FORMS, "erasure")]
    assert all(page.one("html").attributes["lang"] == language for page in pages)
    assert len({page.words("h1") for page in pages}) == len(pages)
