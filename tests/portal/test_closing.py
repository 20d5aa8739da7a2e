"""Closing the account and undoing it; the banners above every page, and what ends what they tell of."""

from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.platform.errors import AccountClosingError
from cloudpriv.rights import owners, requests, restriction
from cloudpriv.rights.owners import Evidence
from tests.factories import NOW, transaction
from tests.holders import Holder, Time
from tests.portal.reading import Page
from tests.requests import DOCUMENTS

PAGE, CONFIRM, UNDO, LIFT = "/portal/closing", "/portal/closing/confirm", "/portal/closing/undo", "/portal/restriction/lift"
PAGES = ("/portal/", "/portal/identity", "/portal/traffic", "/portal/exports", f"/portal/exports/{UUID(int=1)}")


def status(owner_engine: Engine) -> str:
    with owner_engine.connect() as connection:
        found: str = connection.scalar(text("SELECT status FROM accounts"))
    return found


def close(holder: Holder) -> None:
    answer = holder.post(CONFIRM, account_name=holder.names["account_name"])
    assert (answer.status_code, answer.location) == (303, PAGE), answer.text


def told(holder: Holder, address: str) -> list[str]:
    """What a page says in its notices."""
    return [" ".join(each.text.split()) for each in Page(holder.get(address).text).all("div", role="status")]


def grant_restriction(services: Services, holder: Holder, whole: bool) -> None:
    """As staff enters a letter that asks for it."""
    from_letter = {"channel": "letter", "identity": DOCUMENTS, "person_id": None if whole else holder.person_id}
    with transaction(services) as tx:
        known = requests.receive(
            tx,
            services.policy,
            holder.account_id,
            "restriction",
            **from_letter,  # type: ignore[arg-type]  # of many types
        )
        requests.begin(tx, services.policy, known.row.request_id)
        if whole:
            restriction.restrict_account(tx, holder.account_id, request_id=known.row.request_id)
        else:
            restriction.restrict_person(tx, holder.account_id, holder.person_id, request_id=known.row.request_id)
        requests.complete(tx, services.policy, known.row.request_id, "restricted")


def test_an_owner_closes_the_account_and_undoes_it(kim: Holder, owner_engine: Engine, time: Time) -> None:
    close(kim.sign_in())
    assert status(owner_engine) == "closing"
    page = Page(kim.get(PAGE).text)
    assert page.words("h1") == "This account is being closed"
    assert page.one("p", class_="lead").text.count("15 Jun 2026, 12:00 UTC") == 1
    time.pass_by(days=13)
    kim.sign_in()
    answer = kim.post(UNDO, PAGE)
    assert (answer.status_code, urlsplit(str(answer.location)).path) == (303, PAGE)
    assert status(owner_engine) == "active"
    assert "The closing is undone" in kim.get(str(answer.location)).text
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM requests")) == "withdrawn"


def test_the_page_says_what_stays_in_backups_and_in_the_access_log(kim: Holder) -> None:
    page = Page(kim.sign_in().get(PAGE).text)
    assert "backups" not in page.words("section", aria_labelledby="goes"), "the wrapped key lies in the backup, too"
    stays = page.words("section", aria_labelledby="stays")
    assert "copies in backups, with the account's key, until those backups end" in stays
    assert "access log, for as long as the privacy policy says" in stays


def test_who_reads_and_corrects_while_the_account_is_closing_is_told_that_they_can(kim: Holder, services: Services) -> None:
    kim.sign_in()
    before = Page(kim.get(PAGE).text).one("main").text
    close(kim)
    for told in (before, Page(kim.get(PAGE).text).one("main").text):
        assert "the cloud service can change nothing in the account any more" in told
        assert "can still read and correct their data" in told
    answer = kim.post("/portal/requests/new/rectification", username="kim.e", account_name=kim.names["account_name"])
    assert answer.status_code == 303
    with transaction(services) as tx, pytest.raises(AccountClosingError):
        people.change_person(tx, kim.account_id, kim.person_id, 2, {"name": "Another"})


@pytest.mark.parametrize("typed", ["", "another", " "])
def test_without_its_name_the_account_stays(kim: Holder, owner_engine: Engine, typed: str) -> None:
    answer = kim.sign_in().post(CONFIRM, account_name=typed)
    assert answer.status_code == 422
    assert "Nothing was closed" in answer.text
    assert status(owner_engine) == "active"


def test_the_name_counts_however_it_is_written(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in().post(CONFIRM, account_name=f"  {kim.names['account_name'].upper()} ")
    assert status(owner_engine) == "closing"


def test_closing_asks_for_the_password_again(kim: Holder, owner_engine: Engine, time: Time) -> None:
    token = kim.sign_in().token(CONFIRM)
    time.pass_by(minutes=6)
    assert kim.get(CONFIRM).location == "/portal/password?next=%2Fportal%2Fclosing%2Fconfirm"
    answer = kim.post(CONFIRM, csrf_token=token, account_name=kim.names["account_name"])
    assert str(answer.location).startswith("/portal/password")
    assert status(owner_engine) == "active"


def test_a_member_closes_nothing_and_undoes_nothing(kim: Holder, alex: Holder, owner_engine: Engine) -> None:
    alex.sign_in()
    page = alex.get(PAGE).text
    assert "Only an owner of the account can close it" in page
    assert CONFIRM not in page
    assert alex.post(CONFIRM, "/portal/exports/new", account_name=alex.names["account_name"]).status_code == 403
    close(kim.sign_in())
    alex.sign_in()
    assert "This account is being closed" in alex.get("/portal/").text
    assert UNDO not in alex.get("/portal/").text
    assert alex.post(UNDO, "/portal/exports/new").status_code == 403
    assert status(owner_engine) == "closing"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_that_the_account_is_closing_and_offers_to_undo_it(kim: Holder, path: str) -> None:
    close(kim.sign_in())
    page = Page(kim.get(path).text)
    assert len(page.all("form", action=UNDO)) == 1
    assert "15 Jun 2026, 12:00 UTC" in page.one("main").text


def test_when_the_time_is_over_nothing_can_be_undone(kim: Holder, owner_engine: Engine, time: Time) -> None:
    close(kim.sign_in())
    time.pass_by(days=14)
    answer = kim.sign_in().post(UNDO, "/portal/")
    assert answer.status_code == 409
    assert status(owner_engine) == "closing"


def test_closing_and_undoing_twice_is_no_fault(kim: Holder) -> None:
    close(kim.sign_in())
    token = kim.token("/portal/")
    assert kim.post(CONFIRM, csrf_token=token).location == PAGE
    assert kim.post(UNDO, csrf_token=token).status_code == 303
    assert kim.post(UNDO, csrf_token=token).location == PAGE


def test_an_account_that_was_restricted_on_its_owners_word_is_closed_on_it(
    kim: Holder, services: Services, owner_engine: Engine
) -> None:
    grant_restriction(services, kim, whole=True)
    close(kim.sign_in())
    assert status(owner_engine) == "closing"
    assert "The processing of this account is restricted" in kim.get("/portal/").text
    kim.post(UNDO, PAGE)
    assert status(owner_engine) == "restricted"


def test_the_closing_of_an_account_that_staff_restricted_waits_for_staff(
    kim: Holder, services: Services, owner_engine: Engine
) -> None:
    with transaction(services) as tx:
        restriction.restrict_account(tx, kim.account_id)
    kim.sign_in()
    assert "our staff decides about that" in kim.get(PAGE).text
    answer = kim.post(CONFIRM, account_name=kim.names["account_name"])
    assert str(answer.location).startswith("/portal/requests/")
    assert "Our staff looks into it" in kim.get(str(answer.location)).text
    assert status(owner_engine) == "restricted"


def test_people_see_when_a_restriction_ends(kim: Holder, services: Services) -> None:
    with transaction(services, now=NOW) as tx:
        restriction.restrict_account(tx, kim.account_id)
        restriction.lift_account(tx, kim.account_id, "reason_ended")
    assert "It ends on 8 Jun 2026, 12:00 UTC" in Page(kim.sign_in().get("/portal/").text).one("main").text


def test_an_owner_lifts_the_restriction_that_was_asked_for(kim: Holder, services: Services, owner_engine: Engine) -> None:
    grant_restriction(services, kim, whole=True)
    kim.sign_in()
    page = Page(kim.get("/portal/devices").text)
    assert len(page.all("form", action=LIFT)) == 1
    assert "Yes, lift the restriction" in page.words("details"), "it is asked before, and what that means is told"
    assert "cannot be undone" in page.words("details")
    answer = kim.post(LIFT, "/portal/", about="account")
    assert status(owner_engine) == "active"
    assert urlsplit(str(answer.location)).path == "/portal/"
    assert told(kim, str(answer.location)) == ["The restriction is lifted, with effect at once."]
    assert told(kim, "/portal/") == []


def test_lifting_asks_for_the_password_and_then_for_the_same_again(
    kim: Holder, services: Services, owner_engine: Engine, time: Time
) -> None:
    grant_restriction(services, kim, whole=True)
    token = kim.sign_in().token("/portal/")
    assert "open" not in Page(kim.get("/portal/").text).one("details").attributes
    time.pass_by(minutes=6)
    answer = kim.post(LIFT, csrf_token=token, about="account")
    assert status(owner_engine) == "restricted"
    back = kim.post(str(answer.location), password=kim.password, next="/portal/?lift=yes").location
    assert back == "/portal/?lift=yes"
    assert "open" in Page(kim.get(back).text).one("details").attributes


def test_lifting_says_what_goes_on_for_another_reason(kim: Holder, services: Services, owner_engine: Engine) -> None:
    grant_restriction(services, kim, whole=True)
    with transaction(services) as tx:
        restriction.restrict_account(tx, kim.account_id)
    answer = kim.sign_in().post(LIFT, "/portal/", about="account")
    assert status(owner_engine) == "restricted"
    assert "The processing stays restricted for another reason." in kim.get(str(answer.location)).text


def test_a_person_lifts_the_restriction_of_the_own_data(
    kim: Holder, alex: Holder, services: Services, owner_engine: Engine
) -> None:
    grant_restriction(services, alex, whole=False)
    assert kim.sign_in().post(LIFT, "/portal/exports/new", about="person").status_code == 303
    alex.sign_in()
    assert "The processing of your own data is restricted" in alex.get("/portal/").text
    alex.post(LIFT, "/portal/", about="person")
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM people WHERE restricted_at IS NOT NULL")) == 0


def test_what_staff_restricted_on_its_own_is_not_lifted_by_its_holder(
    kim: Holder, services: Services, owner_engine: Engine, time: Time
) -> None:
    grant_restriction(services, kim, whole=True)
    grant_restriction(services, kim, whole=False)
    later = NOW + timedelta(days=1)
    with transaction(services, now=later) as tx:
        restriction.end(tx, kim.account_id, None, "request")
        restriction.end(tx, kim.account_id, kim.person_id, "request")
        restriction.restrict_account(tx, kim.account_id)
        restriction.restrict_person(tx, kim.account_id, kim.person_id)
    time.pass_by(days=1)
    page = kim.sign_in().get("/portal/")
    assert "The processing of this account is restricted" in page.text
    assert LIFT not in page.text
    for about in ("account", "person"):
        assert kim.post(LIFT, "/portal/exports/new", about=about).status_code == 403
    assert status(owner_engine) == "restricted"


def test_a_member_does_not_lift_what_the_owner_obtained(
    kim: Holder, alex: Holder, services: Services, owner_engine: Engine
) -> None:
    grant_restriction(services, kim, whole=True)
    alex.sign_in()
    assert LIFT not in alex.get("/portal/").text
    assert alex.post(LIFT, "/portal/exports/new", about="account").status_code == 403
    assert status(owner_engine) == "restricted"


def test_owners_are_told_of_a_new_owner_on_every_page_and_can_stop_it(kim: Holder, alex: Holder, services: Services) -> None:
    with transaction(services) as tx:
        known = owners.start_replacement(tx, alex.account_id, alex.person_id, Evidence("extract", "by telephone"))
    stop = f"/portal/owners/{known.row.replacement_id}/stop"
    kim.sign_in()
    for path in PAGES:
        assert len(Page(kim.get(path).text).all("form", action=stop)) == 1
    assert stop not in alex.sign_in().get("/portal/").text
    kim.post(stop, "/portal/")
    assert stop not in kim.get("/portal/").text


def test_a_page_offers_to_undo_a_closing_as_long_as_that_can_be_done(
    kim: Holder, alex: Holder, owner_engine: Engine, time: Time
) -> None:
    close(kim.sign_in())
    time.pass_by(minutes=1)
    alex.sign_in().post("/portal/requests/new/restriction", about="person", ground="claims", text="x")
    time.pass_by(days=15)
    page = kim.sign_in().get(PAGE).text
    assert "nothing is erased while data of somebody in the account is restricted" in kim.get(erasure_of(owner_engine)).text
    assert "nothing is erased while data of somebody in the account is restricted" in page
    assert "Until 15 Jun" not in page
    alex.sign_in().post("/portal/restriction/lift", "/portal/", about="person")
    page = kim.get(PAGE).text
    assert "The time to undo it is over. Everything in the account is being erased." in page
    assert UNDO not in page
    assert kim.post(UNDO, "/portal/").status_code == 409


def erasure_of(owner: Engine) -> str:
    """The page of the request that has the account closed."""
    with owner.connect() as connection:
        request_id = connection.scalar(text("SELECT request_id FROM requests WHERE type = 'erasure'"))
        return f"/portal/requests/{request_id}"


def test_a_closing_that_is_held_up_is_undone(kim: Holder, alex: Holder, owner_engine: Engine, time: Time) -> None:
    close(kim.sign_in())
    time.pass_by(minutes=1)
    alex.sign_in().post("/portal/requests/new/restriction", about="person", ground="claims", text="x")
    time.pass_by(days=15)
    assert kim.sign_in().post(UNDO, PAGE).status_code == 303
    assert status(owner_engine) == "active"
