"""The page of one's identity: seen, rectified field by field, never over somebody else's change."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, people
from cloudpriv.rights import disclosures
from cloudpriv.rights.restriction import restrict_account, restrict_person
from tests.factories import NOW, transaction
from tests.holders import Holder, Time
from tests.portal.reading import Page

FORM: dict[str, Any] = {
    "name": "Kim Sample",
    "address": "2 Water Street\r\n12345 Exampletown",
    "phones": " +46 70 000 00 01\r\n\r\n+46 8 000 00 02 ",
    "company_name": "",
    "company_id": "SE1",
    "locale": "sv",
    "version": "1",
}


def identity_of(services: Services, holder: Holder) -> dict[str, Any]:
    """What is held about a person."""
    with transaction(services) as tx:
        return people.read_person(tx, holder.account_id, holder.person_id).identity


def value_of(page: Page, field: str) -> str | None:
    """What stands in a field of the person's form."""
    return page.one("input", id=f"f-{field}").attributes["value"]


def version_of(page: Page) -> str | None:
    """The version that the person's form was made from."""
    return page.all("input", name="version")[0].attributes["value"]


def confirmed(answer: TestResponse) -> list[str]:
    """The fields that the page which an answer leads to says were changed."""
    address = urlsplit(str(answer.location))
    assert address.path == "/portal/identity"
    return parse_qs(address.query)["said"][0].split("~")[:-2]


def test_everybody_sees_what_identifies_them(alex: Holder) -> None:
    page = Page(alex.sign_in().get("/portal/identity").text)
    assert value_of(page, "name") == "Alex Example"
    facts = page.words("section", aria_labelledby="you")
    assert "alex@example.com" in facts
    assert "Member of the account" in facts


def test_what_was_typed_is_kept_and_confirmed(kim: Holder, services: Services) -> None:
    answer = kim.sign_in().post("/portal/identity", **FORM)
    assert (answer.status_code, confirmed(answer)) == (303, ["name", "address", "phones", "company_id", "locale"])
    assert identity_of(services, kim) == {
        "username": "kim",
        "name": "Kim Sample",
        "address": "2 Water Street\n12345 Exampletown",
        "phones": ["+46 70 000 00 01", "+46 8 000 00 02"],
        "email": "kim@example.com",
        "company_name": None,
        "company_id": "SE1",
        "locale": "sv",
    }
    page = Page(kim.get(answer.location).text)
    assert page.one("html").attributes["lang"] == "sv"
    assert page.words("div", role="status")


def test_what_stays_as_it_was_is_no_change(kim: Holder, owner_engine: Engine) -> None:
    same = {
        "name": "Kim Example",
        "address": "",
        "phones": "",
        "company_name": "",
        "company_id": "",
        "locale": "",
        "version": "1",
    }
    answer = kim.sign_in().post("/portal/identity", **same)
    assert confirmed(answer) == ["nothing"]
    assert "nothing was changed" in Page(kim.get(answer.location).text).words("div", role="status")
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit_events WHERE action = 'person.change'")) == 0


def test_the_trail_has_the_fields_and_not_the_values(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in().post("/portal/identity", **FORM)
    with owner_engine.connect() as connection:
        told = connection.execute(
            text("SELECT actor_id, subject_id, fields FROM audit_events WHERE action = 'person.change'")
        )
        fields = ["address", "company_id", "locale", "name", "phones"]
        assert [tuple(row) for row in told] == [(str(kim.person_id), kim.person_id, fields)]


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("name", "x" * 201),
        ("address", "x" * 1001),
        ("phones", "\n".join(["1"] * 11)),
        ("phones", "1" * 41),
        ("company_id", "x" * 65),
        ("name", "nul\x00"),
        ("locale", "no language"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    kim: Holder, services: Services, field: str, typed: str
) -> None:
    answer = kim.sign_in().post("/portal/identity", **{**FORM, field: typed})
    assert answer.status_code == 422
    page = Page(answer.text)
    wrong = [each for each in page.elements if each.attributes.get("aria-invalid") == "true"]
    assert [each.attributes["name"] for each in wrong] == [field]
    assert f"e-f-{field}" in str(wrong[0].attributes["aria-describedby"])
    assert page.words("p", id=f"e-f-{field}")
    assert page.one("a", href=f"#f-{field}")
    assert "SE1" in answer.text or field == "company_id"
    assert identity_of(services, kim)["name"] == "Kim Example"


def test_fields_that_are_not_on_the_page_are_not_taken(kim: Holder, alex: Holder, services: Services) -> None:
    alex.sign_in().post("/portal/identity", **FORM, role="owner", username="root", email="evil@example.com")
    assert identity_of(services, alex)["username"] == "alex"
    assert identity_of(services, alex)["email"] == "alex@example.com"
    with transaction(services) as tx:
        assert people.find_person(tx, alex.account_id, alex.person_id).role == "member"


def test_nobody_overwrites_what_was_changed_meanwhile(kim: Holder, services: Services) -> None:
    kim.sign_in()
    with transaction(services) as tx:
        people.change_person(tx, kim.account_id, kim.person_id, 1, {"name": "Kim Elsewhere"})
    answer = kim.post("/portal/identity", **FORM)
    assert answer.status_code == 412
    page = Page(answer.text)
    assert "Your entries are still here" in page.words("div", role="alert")
    assert value_of(page, "name") == "Kim Sample"
    assert identity_of(services, kim)["name"] == "Kim Elsewhere"
    assert kim.post("/portal/identity", **FORM | {"version": version_of(page)}).status_code == 303
    assert identity_of(services, kim)["name"] == "Kim Sample"


@pytest.mark.parametrize("version", ["", "x", "-1", "1" * 10, "²"])
def test_a_version_that_is_none_overwrites_nothing(kim: Holder, services: Services, version: str) -> None:
    assert kim.sign_in().post("/portal/identity", **{**FORM, "version": version}).status_code == 412
    assert identity_of(services, kim)["name"] == "Kim Example"


def test_an_owner_rectifies_the_company_behind_the_account(kim: Holder, services: Services) -> None:
    company = {"company_name": "Acme Rain Ltd", "company_id": "", "version": "1"}
    answer = kim.sign_in().post("/portal/identity/company", "/portal/identity", **company)
    assert confirmed(answer) == ["company_name", "company_id"]
    with transaction(services) as tx:
        profile = accounts.find_account(tx, kim.account_id).profile
    assert (profile["company_name"], profile["company_id"]) == ("Acme Rain Ltd", None)


def test_a_fault_of_the_company_is_said_at_its_own_field(kim: Holder) -> None:
    company = {"company_name": "Acme", "company_id": "x" * 65, "version": "1"}
    answer = kim.sign_in().post("/portal/identity/company", "/portal/identity", **company)
    assert answer.status_code == 422
    wrong = [each.attributes["id"] for each in Page(answer.text).elements if each.attributes.get("aria-invalid") == "true"]
    assert wrong == ["c-company_id"]


def test_a_member_neither_sees_nor_changes_the_company(alex: Holder, services: Services) -> None:
    page = Page(alex.sign_in().get("/portal/identity").text)
    assert "Acme Water Ltd" not in page.one("main").text
    company = {"company_name": "Evil Ltd", "company_id": "", "version": "1"}
    assert alex.post("/portal/identity/company", "/portal/identity", **company).status_code == 403
    with transaction(services) as tx:
        assert accounts.find_account(tx, alex.account_id).profile["company_name"] == "Acme Water Ltd"


def test_the_address_for_codes_is_changed_after_the_password_was_given_again(
    kim: Holder, services: Services, time: Time
) -> None:
    kim.sign_in()
    time.pass_by(minutes=6)
    assert kim.get("/portal/identity/email").location == "/portal/password?next=%2Fportal%2Fidentity%2Femail"
    form = {"email": "kim@elsewhere.example", "version": "1"}
    assert kim.post("/portal/identity/email", "/portal/identity", **form).status_code == 303
    assert identity_of(services, kim)["email"] == "kim@example.com"
    fresh = kim.elsewhere().sign_in()
    assert confirmed(fresh.post("/portal/identity/email", **form)) == ["email"]
    assert identity_of(services, kim)["email"] == "kim@elsewhere.example"


@pytest.mark.parametrize("email", ["nonsense", "a@b", "x" * 250 + "@example.com", "a@example.com, b@example.com"])
def test_what_is_no_address_is_not_taken_for_one(kim: Holder, services: Services, email: str) -> None:
    answer = kim.sign_in().post("/portal/identity/email", email=email, version="1")
    assert answer.status_code == 422
    assert value_of(Page(answer.text), "email") == email
    assert identity_of(services, kim)["email"] == "kim@example.com"


def test_recipients_are_told_of_a_rectification(kim: Holder, services: Services, owner_engine: Engine) -> None:
    with transaction(services) as tx:
        disclosures.record(
            tx,
            services.policy,
            kim.account_id,
            person_id=kim.person_id,
            recipient="Example Freight",
            email="dpo@example.com",
            categories=["identification"],
            purpose="delivery",
            country="SE",
            safeguard=None,
            reference=None,
            disclosed_at=NOW,
        )
    kim.sign_in().post("/portal/identity", **FORM)
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM recipient_notices")) == 1


def test_restriction_does_not_take_the_right_to_rectify(kim: Holder, services: Services) -> None:
    kim.sign_in()
    with transaction(services) as tx:
        restrict_account(tx, kim.account_id)
    assert kim.post("/portal/identity", **FORM).status_code == 303
    assert identity_of_restricted(services, kim)["name"] == "Kim Sample"


def test_a_restricted_person_may_rectify_too(kim: Holder, services: Services) -> None:
    kim.sign_in()
    with transaction(services) as tx:
        restrict_person(tx, kim.account_id, kim.person_id)
    kim = kim.elsewhere().sign_in()  # a restriction ends the sessions of whom it is about
    page = Page(kim.get("/portal/identity").text)
    assert kim.post("/portal/identity", **FORM | {"version": version_of(page)}).status_code == 303
    assert identity_of_restricted(services, kim)["name"] == "Kim Sample"


def test_people_are_rectified_while_the_account_is_closing(kim: Holder, owner_engine: Engine, services: Services) -> None:
    kim.sign_in()
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'closing'"))
    page = Page(kim.get("/portal/identity").text)
    assert kim.post("/portal/identity", **FORM | {"version": version_of(page)}).status_code == 303
    with transaction(services) as tx:
        row = people.find_person(tx, kim.account_id, kim.person_id)
        assert row.version == 2


def test_a_form_of_another_session_changes_nothing(kim: Holder, alex: Holder, services: Services) -> None:
    foreign = alex.sign_in().token("/portal/identity")
    assert kim.sign_in().post("/portal/identity", **FORM, csrf_token=foreign).status_code == 403
    assert identity_of(services, kim)["name"] == "Kim Example"


def test_a_language_that_is_held_with_its_region_stays(kim: Holder, services: Services) -> None:
    with transaction(services) as tx:
        people.change_person(tx, kim.account_id, kim.person_id, 1, {"locale": "en-GB"})
    page = Page(kim.sign_in().get("/portal/identity").text)
    chosen = [each for each in page.all("option") if "selected" in each.attributes]
    assert [(each.attributes["value"], each.text) for each in chosen] == [("en-GB", "English")]


def identity_of_restricted(services: Services, holder: Holder) -> dict[str, Any]:
    """What is held about a person of a restricted account."""
    with transaction(services) as tx:
        account = accounts.find_account(tx, holder.account_id)
        return people.open_identity(account.key, people.find_person(tx, holder.account_id, holder.person_id))
