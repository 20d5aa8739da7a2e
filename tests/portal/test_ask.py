"""A request without signing in: by a code that was mailed, about who typed it, with the same answer whoever exists."""

import re
from html import unescape

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from cloudpriv.api.throttle import FREE
from cloudpriv.bootstrap import Services
from cloudpriv.platform.errors import BusyError
from cloudpriv.rights import handling, requests
from cloudpriv.rights.requests import KnownRequest
from tests.factories import transaction
from tests.holders import TOKEN, Holder, Time
from tests.mailbox import Mailbox
from tests.portal.test_password import code_id_of, code_in, deliver_all

START, REQUEST = "/portal/ask", "/portal/ask/request"
LEAST = {"access": {}, "erasure": {"sure": "yes"}, "objection": {"text": "Stop."}, "rectification": {"text": "It is Kym."}}


def begin(holder: Holder, **changes: str) -> TestResponse:
    """Ask for a code."""
    return holder.post(START, **{**holder.names, **changes})


def ask(holder: Holder, code_id: str, code: str, type_: str = "access", **form: str) -> TestResponse:
    """Type a code, and make a request."""
    return holder.post(REQUEST, START, **{**holder.names, "code_id": code_id, "code": code, "type": type_, **form})


def stored(services: Services, holder: Holder) -> list[KnownRequest]:
    with transaction(services) as tx:
        return requests.list_requests(tx, holder.account_id, after=None, limit=50)


@pytest.mark.parametrize("type_", LEAST)
def test_a_code_makes_a_request_about_who_typed_it(
    alex: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time, type_: str
) -> None:
    code_id = code_id_of(begin(alex))
    deliver_all(postman, time)
    answer = ask(alex, code_id, code_in(mailbox), type_, **LEAST[type_])
    assert answer.status_code == 200, answer.text
    assert "Your request is taken" in answer.text
    [known] = stored(services, alex)
    assert (known.row.type, known.row.scope, known.row.identity_method) == (type_, "person", "code")
    assert known.row.identity_verified_by == f"member:{alex.person_id}"
    assert str(known.row.request_id) in answer.text
    assert (known.row.person_id is None) == (type_ == "erasure")
    assert "cloudpriv=" not in str(answer.headers.getlist("Set-Cookie")), "it signs nobody in"


def test_a_request_that_fails_uses_up_no_code(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BusyError

    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    with monkeypatch.context() as faulty:
        faulty.setattr(handling, "receive", fail)
        assert ask(kim, code_id, code_in(mailbox)).status_code == 503
    assert stored(services, kim) == []
    assert ask(kim, code_id, code_in(mailbox)).status_code == 200
    assert len(stored(services, kim)) == 1


def test_strangers_who_ask_in_somebodys_name_and_guess_keep_nobody_out(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    def stranger(number: int) -> Holder:
        other = kim.elsewhere()
        other.http.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        return other

    theirs = [code_id_of(begin(stranger(number))) for number in range(8)]
    for number, form in enumerate(theirs):
        for _ in range(5):
            assert ask(stranger(100 + number), form, "AAAA-AAAA").status_code == 403
    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    assert len(mailbox.received) == 1
    begin(stranger(99))
    assert ask(kim, code_id, code_in(mailbox)).status_code == 200


def test_a_browser_that_somebody_signed_in_from_gets_a_mail_of_its_own(
    kim: Holder, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    begin(kim.elsewhere())
    kim.sign_in().post("/portal/sign-out", "/portal/sessions")
    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    assert len(mailbox.received) == 2
    assert ask(kim, code_id, code_in(mailbox)).status_code == 200


def test_names_alone_make_no_request(kim: Holder, services: Services, postman: Services, time: Time) -> None:
    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    for code in ("", "AAAA-AAAA", code_id):
        assert ask(kim, code_id, code).status_code == 403
    assert stored(services, kim) == []


def test_five_wrong_codes_use_up_the_form_and_another_form_takes_the_code(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    tries = 0
    while tries < 5:
        answer = ask(kim, code_id, "AAAA-AAAA")
        tries += answer.status_code == 403
        time.pass_by(seconds=20)
    assert ask(kim, code_id, code_in(mailbox)).status_code == 403
    assert stored(services, kim) == []
    time.pass_by(seconds=20)
    again = code_id_of(begin(kim))
    time.pass_by(seconds=40)
    assert ask(kim, again, code_in(mailbox)).status_code == 200


def test_a_code_is_good_once_and_for_its_own_person(
    kim: Holder, alex: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    assert ask(alex, code_id, code_in(mailbox)).status_code == 403
    assert stored(services, kim) == []


def test_a_code_for_a_new_password_makes_no_request(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    code_id = code_id_of(kim.post("/portal/sign-in/code", **kim.names))
    deliver_all(postman, time)
    assert ask(kim, code_id, code_in(mailbox)).status_code == 403
    assert stored(services, kim) == []


def test_opening_the_pages_uses_up_no_code(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    assert kim.get(f"{REQUEST}?code_id={code_id}&code={code_in(mailbox)}").location == START
    assert ask(kim, code_id, code_in(mailbox)).status_code == 200


def test_the_answer_is_the_same_whoever_exists(kim: Holder) -> None:
    def told(answer: TestResponse) -> str:
        page = TOKEN.sub("", answer.text)
        return re.sub('name="(code_id|account_name|username)" value="[^"]*"', "", unescape(page))

    known = begin(kim)
    unknown = [begin(kim, **{name: "nobody-of-this-name"}) for name in ("account_name", "username")]
    assert {answer.status_code for answer in (known, *unknown)} == {200}
    assert {told(answer) for answer in unknown} == {told(known)}
    assert {ask(kim, code_id_of(answer), "AAAA-AAAA").status_code for answer in (known, *unknown)} == {403}


@pytest.mark.parametrize(
    ("type_", "form", "told"),
    [
        ("everything", {}, "Choose what you ask for"),
        ("objection", {}, "Write what it is about"),
        ("restriction", {"text": " "}, "Write what it is about"),
        ("access", {"text": "x" * 4001}, "at most 4,000"),
        ("erasure", {}, "Tick this"),
    ],
)
def test_a_form_that_says_too_little_uses_up_no_code(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time,
    type_: str, form: dict[str, str], told: str,
) -> None:  # fmt: skip
    code_id = code_id_of(begin(kim))
    deliver_all(postman, time)
    answer = ask(kim, code_id, code_in(mailbox), type_, **form)
    assert answer.status_code == 422
    assert told in answer.text
    assert ask(kim, code_id, code_in(mailbox)).status_code == 200
    assert len(stored(services, kim)) == 1


def test_missing_names_are_told(kim: Holder) -> None:
    assert begin(kim, username="").status_code == 422
    assert ask(kim, "nonsense", "AAAA-AAAA").location == START


def test_asking_again_and_again_has_to_wait(kim: Holder) -> None:
    answers = [begin(kim) for _ in range(FREE["code"] + 1)]
    assert [answer.status_code for answer in answers] == [200] * FREE["code"] + [429]
    assert answers[-1].headers["Retry-After"] == "1"


def test_a_form_of_another_site_asks_for_nothing(kim: Holder, owner_engine: Engine) -> None:
    for path in (START, REQUEST):
        assert kim.post(path, csrf_token="", **kim.names).status_code == 403
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM one_time_codes")) == 0


def test_signing_in_leads_there(kim: Holder) -> None:
    assert f'href="{START}"' in kim.get("/portal/sign-in").text
