"""Where a person is signed in: they see it, and end it, here or everywhere."""

import re
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials, people
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.rights import owners
from cloudpriv.rights.owners import Evidence
from tests.factories import transaction
from tests.holders import Holder, Time
from tests.stack import every_row

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ENDS = re.compile("/portal/sessions/([0-9a-f-]{36})/end")


def shown(holder: Holder) -> list[UUID]:
    """The sessions that the page lists."""
    return [UUID(each) for each in ENDS.findall(holder.get("/portal/sessions").text)]


def test_a_person_sees_their_own_sessions_with_browser_and_times(kim: Holder, alex: Holder, time: Time) -> None:
    kim.attempt(options={"headers": {"User-Agent": FIREFOX}})
    time.pass_by(minutes=3)
    elsewhere = kim.elsewhere().sign_in()
    alex.sign_in()
    page = elsewhere.get("/portal/sessions").text
    assert len(ENDS.findall(page)) == 2
    assert "Firefox, Linux" in page
    assert page.count("this one") == 1
    assert '<time datetime="2026-06-01T12:00:00Z">' in page
    assert '<time datetime="2026-06-02T00:03:00Z">' in page, "when it ends at the latest"


def test_the_version_of_a_browser_is_kept_nowhere(kim: Holder, owner_engine: Engine) -> None:
    kim.attempt(options={"headers": {"User-Agent": FIREFOX}})
    stored = str(every_row(owner_engine))
    assert "140.0" not in stored
    assert "Firefox" not in stored, "nor the family in the clear"


def test_one_of_them_can_be_ended_from_another(kim: Holder) -> None:
    other = kim.elsewhere().sign_in()
    [theirs] = shown(other)
    kim.sign_in()
    answer = kim.post(f"/portal/sessions/{theirs}/end", "/portal/sessions")
    assert (answer.status_code, answer.location) == (303, "/portal/sessions")
    assert kim.get("/portal/sessions").status_code == 200
    assert other.get("/portal/sessions").status_code == 303


def test_ending_this_one_signs_out(kim: Holder) -> None:
    kim.sign_in()
    [this] = shown(kim)
    assert kim.post(f"/portal/sessions/{this}/end", "/portal/sessions").location == "/portal/sign-in"
    assert kim.http.get_cookie("cloudpriv") is None


def test_nobody_ends_somebody_elses(kim: Holder, alex: Holder) -> None:
    [theirs] = shown(alex.sign_in())
    kim.sign_in()
    for session_id in (theirs, uuid4()):
        assert kim.post(f"/portal/sessions/{session_id}/end", "/portal/sessions").status_code == 404
    assert alex.get("/portal/sessions").status_code == 200


def test_signing_out_everywhere_ends_all_of_a_persons_sessions_and_no_others(kim: Holder, alex: Holder) -> None:
    others = [kim.elsewhere().sign_in() for _ in range(2)]
    alex.sign_in()
    kim.sign_in()
    assert kim.post("/portal/sessions/end-all", "/portal/sessions").location == "/portal/sign-in"
    for holder in (kim, *others):
        assert holder.get("/portal/sessions").status_code == 303
    assert alex.get("/portal/sessions").status_code == 200


@pytest.mark.parametrize("which", ["end-all", "00000000-0000-7000-8000-000000000000/end"])
def test_ending_sessions_asks_for_the_password_first(kim: Holder, time: Time, which: str) -> None:
    kim.sign_in()
    time.pass_by(minutes=5)
    answer = kim.post(f"/portal/sessions/{which}", "/portal/sessions")
    assert answer.location == "/portal/password?next=%2Fportal%2Fsessions"
    assert kim.get("/portal/sessions").status_code == 200


def test_a_new_password_by_a_backend_signs_out_everywhere(kim: Holder, services: Services) -> None:
    kim.sign_in()
    with transaction(services) as tx:
        credentials.set_credentials(tx, kim.account_id, kim.person_id, "not a hash", None)
    assert kim.get("/portal/sessions").status_code == 303


def test_who_is_erased_is_signed_out(kim: Holder, alex: Holder, services: Services) -> None:
    alex.sign_in()
    with transaction(services) as tx:
        people.remove_person(tx, alex.account_id, alex.person_id, 1)
    assert alex.get("/portal/sessions").status_code == 303


def test_looking_is_audited(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in()
    kim.get("/portal/sessions")
    with owner_engine.connect() as connection:
        query = text("SELECT actor_kind, actor_id, subject_id FROM audit_events WHERE action = 'session.read'")
        assert [tuple(row) for row in connection.execute(query)] == [("owner", str(kim.person_id), kim.person_id)]


@pytest.fixture
def waiting(kim: Holder, alex: Holder, services: Services) -> UUID:
    """A replacement that makes alex an owner."""
    with transaction(services, OPERATOR) as tx:
        evidence = Evidence("extract of the register", "called the board")
        return owners.start_replacement(tx, kim.account_id, alex.person_id, evidence).row.replacement_id


def test_an_owner_is_shown_who_is_to_own_the_account_after_signing_in_and_stops_it(kim: Holder, waiting: UUID) -> None:
    answer = kim.attempt(next="/portal/sessions")
    assert answer.location == "/portal/owners"
    assert "extract of the register" in kim.get("/portal/owners").text
    assert kim.post(f"/portal/owners/{waiting}/stop", "/portal/owners").location == "/portal/owners"
    assert "/stop" not in kim.get("/portal/owners").text
    assert kim.post(f"/portal/owners/{waiting}/stop", "/portal/owners").status_code == 409
    assert kim.elsewhere().attempt(next="/portal/sessions").location == "/portal/sessions"


def test_a_member_neither_sees_nor_stops_it(alex: Holder, waiting: UUID) -> None:
    assert alex.attempt().location == "/portal/"
    assert alex.get("/portal/owners").status_code == 403
    assert alex.post(f"/portal/owners/{waiting}/stop", "/portal/sessions").status_code == 403


def test_an_account_whose_owners_stay_says_so(kim: Holder) -> None:
    kim.sign_in()
    assert "Nobody is about to become an owner" in kim.get("/portal/owners").text
