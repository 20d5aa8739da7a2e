"""The password once more, and a new one by a code: what lets the right person in, and nobody else."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.api.throttle import FREE
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials, delivery
from cloudpriv.controller.tables import Account
from cloudpriv.platform.ids import new_id
from cloudpriv.rights import code_forms, code_mails, codes
from cloudpriv.rights.mail import writers
from tests.factories import transaction
from tests.holders import Holder, Time, make_holder
from tests.mailbox import Mailbox

NEW = "quite another set of words"
CODE_ID = re.compile('name="code_id" value="([^"]+)"')


def ask(holder: Holder, **changes: str) -> TestResponse:
    """Ask for a code."""
    return holder.post("/portal/sign-in/code", **{**holder.names, **changes})


def code_id_of(answer: TestResponse) -> str:
    """The id on the page where a code is typed."""
    found = CODE_ID.search(answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


def change(holder: Holder, code_id: str, code: str, password: str = NEW, again: str | None = None) -> TestResponse:
    """Type a code and a new password."""
    given = {**holder.names, "code_id": code_id, "code": code, "password": password, "again": again or password}
    return holder.post("/portal/new-password", "/portal/sign-in/code", **given)


def deliver_all(postman: Services, time: Time) -> None:
    """Do what workers do about every mail."""
    with transaction(postman, now=time.now) as tx:
        waiting = delivery.unfinished(tx)
    for mail_id in waiting:
        delivery.deliver(postman.controller, postman.mailer, mail_id, time, writers(postman.post))


def code_in(mailbox: Mailbox) -> str:
    """The code of the last mail."""
    found = re.search("[A-Z2-9]{4}-[A-Z2-9]{4}", mailbox.texts()[-1])
    assert found is not None
    return found[0]


def test_the_right_password_makes_the_session_fresh_under_a_new_cookie(kim: Holder, time: Time) -> None:
    kim.sign_in()
    before = kim.http.get_cookie("cloudpriv")
    time.pass_by(minutes=6)
    answer = kim.post("/portal/password", password=kim.password, next="/portal/sessions")
    after = kim.http.get_cookie("cloudpriv")
    assert (answer.status_code, answer.location) == (303, "/portal/sessions")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    kim.http.set_cookie("cloudpriv", before.value)
    assert kim.get("/portal/sessions").status_code == 303


def test_a_wrong_one_changes_nothing(kim: Holder, time: Time) -> None:
    kim.sign_in()
    time.pass_by(minutes=6)
    for wrong in ("wrong", "", "x" * 1025):
        assert kim.post("/portal/password", password=wrong).status_code == 403
        time.pass_by(seconds=10)
    assert kim.get("/portal/password").status_code == 200


def test_guessing_in_a_stolen_session_has_to_wait(kim: Holder, time: Time) -> None:
    kim.sign_in()
    time.pass_by(minutes=6)
    tries = [kim.post("/portal/password", password="wrong").status_code for _ in range(FREE["device"] + 1)]
    assert tries == [403] * FREE["device"] + [429]
    answer = kim.post("/portal/password", password=kim.password)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_nobody_is_led_elsewhere_with_the_password(kim: Holder, time: Time) -> None:
    kim.sign_in()
    assert kim.get("/portal/password?next=//evil.example").location == "/portal/"
    time.pass_by(minutes=6)
    assert kim.post("/portal/password", password=kim.password, next="https://evil.example").location == "/portal/"


def test_a_code_lets_in_with_a_new_password_and_signs_out_everywhere_else(
    kim: Holder, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    thief = kim.elsewhere().sign_in()
    code_id = code_id_of(ask(kim))
    deliver_all(postman, time)
    answer = change(kim, code_id, code_in(mailbox))
    assert (answer.status_code, answer.location) == (303, "/portal/")
    assert kim.get("/portal/sessions").status_code == 200
    assert thief.get("/portal/sessions").status_code == 303
    assert kim.elsewhere().attempt().status_code == 403
    assert kim.elsewhere().attempt(password=NEW).status_code == 303
    deliver_all(postman, time)
    assert mailbox.received[-1]["Subject"] == "Your Talk2M password was changed"


def test_a_code_lets_the_owner_in_while_everybody_else_has_to_wait(
    kim: Holder, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    for number in range(FREE["account"] + 1):
        options = {"environ_base": {"REMOTE_ADDR": f"192.0.2.{number}"}}
        kim.elsewhere().attempt(password="wrong", options=options)
    assert kim.attempt().status_code == 429
    code_id = code_id_of(ask(kim))
    deliver_all(postman, time)
    assert change(kim, code_id, code_in(mailbox)).status_code == 303


def test_a_wrong_code_sets_no_password_and_five_of_them_end_the_right_one(
    kim: Holder, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    code_id = code_id_of(ask(kim))
    deliver_all(postman, time)
    for _ in range(code_forms.TRIES):
        refused = change(kim, code_id, "AAAA-AAAA")
        assert refused.status_code == 403
        time.pass_by(seconds=1)
    time.pass_by(minutes=1)
    assert change(kim, code_id, code_in(mailbox)).status_code == 403
    assert kim.elsewhere().attempt(password=NEW).status_code == 403


@pytest.mark.parametrize(
    ("password", "again"),
    [("short", "short"), ("x" * 1025, "x" * 1025), (NEW, "not the same"), ("my name is Acme-Water 7", None),
     ("password123", None)],
)  # fmt: skip
def test_a_password_that_is_not_taken_uses_up_no_code(
    kim: Holder, postman: Services, mailbox: Mailbox, time: Time, services: Services, password: str, again: str | None
) -> None:
    with transaction(services) as tx:
        account = accounts.lock_account(tx, kim.account_id)
        accounts.change_account(tx, kim.account_id, account.row.version, {"account_name": "acme-water"})
    kim.names["account_name"] = "acme-water"
    code_id = code_id_of(ask(kim))
    deliver_all(postman, time)
    for _ in range(code_forms.TRIES + 1):
        refused = change(kim, code_id, code_in(mailbox), password, again)
        assert refused.status_code == 422
    assert password not in refused.text
    assert change(kim, code_id, code_in(mailbox)).status_code == 303


def test_a_password_of_the_persons_own_name_is_refused_after_the_right_code_alone_and_leaves_it_good(
    app: Flask, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    robin = make_holder(app, services, username="robin", name="Xuthos Zyx")
    code_id, guessed = code_id_of(ask(robin)), "xuthoszyx"
    deliver_all(postman, time)
    assert change(robin, code_id, "AAAA-AAAA", guessed).status_code == 403, "a stranger learns no name by it"
    assert change(robin, code_id, code_in(mailbox), guessed).status_code == 422
    assert change(robin, code_id, code_in(mailbox)).status_code == 303


def test_no_password_is_judged_for_whoever_has_to_wait_or_has_no_code(
    kim: Holder, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    monkeypatch.setattr(app.extensions[EXTENSION].passwords, "fault", lambda password, _: judged.append(password))
    code_id = code_id_of(ask(kim))
    answers = [change(kim, code_id, "AAAA-AAAA", "password123").status_code for _ in range(FREE["code"])]
    assert answers == [403] * (FREE["code"] - 1) + [429]
    assert judged == [], "it takes up to a second"


def test_nobody_changes_to_a_password_that_is_easily_guessed(kim: Holder) -> None:
    kim.sign_in()
    for guessed in ("password123", "KimExample1"):
        refused = kim.post("/portal/change-password", password=guessed, again=guessed)
        assert (refused.status_code, "easily guessed" in refused.text, guessed in refused.text) == (422, True, False)
    assert kim.elsewhere().attempt().status_code == 303


def test_asking_answers_the_same_whether_somebody_is_there_or_not(kim: Holder) -> None:
    def page(**names: str) -> str:
        answer = ask(kim, **names)
        assert answer.status_code == 200
        return re.sub('value="[^"]*"', "", answer.text)

    assert page() == page(username="nobody") == page(account_name="nothing") == page(service="intesis")


def test_a_code_of_nobody_is_wrong_like_any_other(kim: Holder) -> None:
    code_id = code_id_of(ask(kim))
    mine = change(kim, code_id, "AAAA-AAAA")
    kim.names["username"] = "nobody"
    nobodys = change(kim, str(new_id()), "AAAA-AAAA")
    assert (mine.status_code, nobodys.status_code) == (403, 403)
    shown = [re.sub('value="[^"]*"', "", each.text) for each in (mine, nobodys)]
    assert shown[0] == shown[1]


def test_opening_the_pages_uses_up_no_code(kim: Holder, postman: Services, mailbox: Mailbox, time: Time) -> None:
    code_id = code_id_of(ask(kim))
    deliver_all(postman, time)
    for path in ("/portal/new-password", f"/portal/new-password?code_id={code_id}&code={code_in(mailbox)}"):
        assert kim.get(path).location == "/portal/sign-in/code"
    assert change(kim, code_id, code_in(mailbox)).status_code == 303


def test_a_code_that_was_asked_for_something_else_sets_no_password(kim: Holder, services: Services, time: Time) -> None:
    with transaction(services, now=time.now) as tx:
        code_id = codes.send(tx, kim.account_id, kim.person_id, "identity").code_id
        code = code_mails.written(accounts.find_account(tx, kim.account_id).key, code_id)
    assert change(kim, str(code_id), code).status_code == 403


@pytest.mark.parametrize("status", ["restricted", "closing"])
def test_people_of_restricted_and_closing_accounts_set_a_new_password_too(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time, status: str
) -> None:
    with transaction(services) as tx:
        tx.session.get_one(Account, kim.account_id).status = status
    code_id = code_id_of(ask(kim))
    deliver_all(postman, time)
    assert change(kim, code_id, code_in(mailbox)).status_code == 303
    assert kim.elsewhere().attempt(password=NEW).status_code == 303


def test_the_hint_to_the_old_password_goes_with_it(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    with transaction(services) as tx:
        hashed = kim.app.extensions[EXTENSION].passwords.hash(kim.password)
        credentials.set_credentials(tx, kim.account_id, kim.person_id, hashed, "zebra")
    code_id = code_id_of(ask(kim))
    deliver_all(postman, time)
    change(kim, code_id, code_in(mailbox))
    with transaction(services) as tx:
        assert credentials.open_hint(tx, accounts.find_account(tx, kim.account_id), kim.person_id) is None


@pytest.mark.parametrize("missing", ["service", "account_name", "username", "code_id"])
def test_a_form_that_lacks_what_it_began_with_begins_again(kim: Holder, missing: str) -> None:
    given = {**kim.names, "code_id": str(new_id()), "code": "x", "password": NEW, "again": NEW, missing: "-" * 101}
    answer = kim.post("/portal/new-password", "/portal/sign-in/code", **given)
    assert (answer.status_code, answer.location) == (303, "/portal/sign-in/code")


def test_asking_without_names_asks_for_them(kim: Holder) -> None:
    assert ask(kim, username="").status_code == 422


def test_asking_on_and_on_has_to_wait_by_address(kim: Holder, owner_engine: Engine) -> None:
    answers = [ask(kim, username=f"name-{number}") for number in range(FREE["code"] + 1)]
    assert [each.status_code for each in answers] == [200] * FREE["code"] + [429]
    assert answers[-1].headers["Retry-After"] == "1"
    with owner_engine.connect() as connection:
        asked = connection.scalar(text("SELECT count(*) FROM audit_events WHERE action = 'code.send'"))
    assert asked == FREE["code"]


def test_who_knows_the_password_changes_it_and_is_signed_out_everywhere_else(kim: Holder, time: Time) -> None:
    thief = kim.elsewhere().sign_in()
    kim.sign_in()
    time.pass_by(minutes=5)
    assert kim.get("/portal/change-password").location == "/portal/password?next=%2Fportal%2Fchange-password"
    kim.post("/portal/password", password=kim.password)
    assert kim.post("/portal/change-password", password="short", again="short").status_code == 422
    answer = kim.post("/portal/change-password", password=NEW, again=NEW)
    assert (answer.status_code, answer.location) == (303, "/portal/sessions")
    assert kim.get("/portal/sessions").status_code == 200
    assert thief.get("/portal/sessions").status_code == 303
    assert kim.elsewhere().attempt(password=NEW).status_code == 303


def during(monkeypatch: pytest.MonkeyPatch, holder: Holder, method: str, act: Callable[[], object]) -> None:
    """Have `act` happen once while a password is hashed or checked."""
    passwords = type(holder.app.extensions[EXTENSION].passwords)
    original = getattr(passwords, method)

    def meanwhile(self: Any, *given: Any) -> Any:
        monkeypatch.setattr(passwords, method, original)
        act()
        return original(self, *given)

    monkeypatch.setattr(passwords, method, meanwhile)


def test_of_two_who_change_the_password_at_once_one_wins(kim: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    other = kim.elsewhere().sign_in()
    kim.sign_in()
    done = []

    def change(holder: Holder, password: str) -> TestResponse:
        return holder.post("/portal/change-password", password=password, again=password)

    during(monkeypatch, kim, "hash", lambda: done.append(change(other, "the words of another").location))
    answer = change(kim, NEW)
    assert done == ["/portal/sessions"]
    assert (answer.status_code, answer.location) == (303, "/portal/sign-in")
    assert kim.get("/portal/sessions").location == "/portal/sign-in?next=%2Fportal%2Fsessions"
    assert other.get("/portal/sessions").status_code == 200
    assert kim.elsewhere().attempt(password=NEW).status_code == 403
    assert kim.elsewhere().attempt(password="the words of another").status_code == 303


@pytest.mark.parametrize("page", ["/portal/sign-in", "/portal/password"])
def test_a_password_that_was_changed_while_it_was_checked_opens_nothing(
    kim: Holder, services: Services, time: Time, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    kim.sign_in()
    time.pass_by(minutes=5)
    token = kim.token(page if page == "/portal/password" else "/portal/sessions")

    def changed() -> None:
        with transaction(services, now=time.now) as tx:
            credentials.set_credentials(tx, kim.account_id, kim.person_id, "not a hash", None)

    during(monkeypatch, kim, "matches", changed)
    answer = kim.post(page, **kim.names, password=kim.password, csrf_token=token)
    assert answer.status_code in (403, 404)
    assert kim.get("/portal/sessions").status_code == 303


def test_a_password_counts_as_it_was_typed(kim: Holder) -> None:
    kim.sign_in()
    typed = "  Grüße, ΑΒΓ und 🔑 "
    assert kim.post("/portal/change-password", password=typed, again=typed).status_code == 303
    for other in (typed.strip(), typed.lower(), typed[:-2]):
        assert kim.elsewhere().attempt(password=other).status_code == 403
    assert kim.attempt(password=typed, csrf_token=kim.token("/portal/sessions")).status_code == 303


def test_every_field_of_a_password_is_masked_and_helped_with(kim: Holder, time: Time) -> None:
    shown = [kim.get("/portal/sign-in").text, ask(kim).text]
    kim.sign_in()
    shown.append(kim.get("/portal/change-password").text)
    time.pass_by(minutes=5)
    shown.append(kim.get("/portal/password").text)
    for page in shown:
        fields = re.findall('<input[^>]*name="(?:password|again)"[^>]*>', page)
        assert fields
        assert all('type="password"' in each and 'autocomplete="' in each for each in fields)
