"""Links of mails and one click: opening changes nothing, one POST does, and no path of them reaches the access log."""

from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.platform.errors import GoneError
from tests.factories import transaction
from tests.holders import Holder, Time
from tests.mailbox import Mailbox
from tests.portal.test_consents import ASK, PAGE, path_in, post_mail, states

CLICK = {"List-Unsubscribe": "One-Click"}
FORM = "/portal/unsubscribe"


@pytest.fixture
def given(kim: Holder, postman: Services, mailbox: Mailbox, time: Time) -> str:
    """The path that unsubscribes kim, who consented."""
    kim.sign_in().post(ASK, PAGE)
    post_mail(postman, time)
    kim.post(path_in(mailbox))
    post_mail(postman, time)
    return path_in(mailbox)


def test_one_click_needs_neither_cookie_nor_token(given: str, kim: Holder, services: Services) -> None:
    for _ in range(2):
        assert kim.elsewhere().http.post(given, data=CLICK).status_code == 200
    assert states(services, kim) == ["requested", "given", "withdrawn"]


def test_one_click_works_as_multipart_too(given: str, kim: Holder, services: Services) -> None:
    assert kim.elsewhere().http.post(given, data=CLICK, content_type="multipart/form-data").status_code == 200
    assert states(services, kim)[-1] == "withdrawn"


def test_a_post_that_does_not_say_so_is_no_click(given: str, kim: Holder, services: Services) -> None:
    assert kim.elsewhere().http.post(given).status_code == 400
    assert states(services, kim)[-1] == "given"


def test_opening_the_link_changes_nothing_and_offers_a_button(given: str, kim: Holder, services: Services) -> None:
    stranger = kim.elsewhere()
    for ask in (stranger.http.get, stranger.http.head):
        assert ask(given).status_code == 200
    assert states(services, kim)[-1] == "given"
    assert 'name="List-Unsubscribe" value="One-Click"' in stranger.get(given).text


@pytest.mark.parametrize("token", ["x", "A" * 64, "A" * 63 + "%C3%A5"])
def test_a_link_of_nobody_is_not_found(kim: Holder, token: str) -> None:
    for path in (f"/portal/unsubscribe/{token}", f"/portal/consents/confirm/{token}"):
        assert kim.get(path).status_code == 404
    assert kim.http.post(f"/portal/unsubscribe/{token}", data=CLICK).status_code == 404
    assert kim.post(f"/portal/consents/confirm/{token}", FORM).status_code == 404


def test_a_confirmation_needs_the_form_of_its_page(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    kim.sign_in().post(ASK, PAGE)
    post_mail(postman, time)
    assert kim.elsewhere().http.post(path_in(mailbox)).status_code == 403
    assert states(services, kim) == ["requested"]


def test_a_link_that_is_over_says_so(kim: Holder, postman: Services, mailbox: Mailbox, time: Time) -> None:
    kim.sign_in().post(ASK, PAGE)
    post_mail(postman, time)
    time.pass_by(days=7)
    stranger = kim.elsewhere()
    page = stranger.get(path_in(mailbox))
    assert (page.status_code, "not valid any more" in page.text) == (200, True)
    assert stranger.post(path_in(mailbox), "/portal/unsubscribe").status_code == 410
    assert GoneError.code in stranger.post(path_in(mailbox), "/portal/unsubscribe").text


def test_the_page_speaks_the_language_of_whom_the_mail_was_for(given: str, kim: Holder, services: Services) -> None:
    with transaction(services) as tx:
        people.change_person(tx, kim.account_id, kim.person_id, 1, {"locale": "sv-SE"})
    assert '<html lang="sv">' in kim.elsewhere().get(given).text


def test_who_cannot_sign_in_withdraws_by_mail(
    given: str, kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    stranger = kim.elsewhere()
    answer = stranger.post(FORM, **kim.names, purpose="product_news")
    assert answer.status_code == 200
    assert states(services, kim)[-1] == "withdrawal_requested"
    post_mail(postman, time)
    path = path_in(mailbox)
    assert "withdraw" in stranger.get(path).text
    assert states(services, kim)[-1] == "withdrawal_requested"
    stranger.post(path)
    assert states(services, kim)[-1] == "withdrawn"


def test_the_form_tells_nobody_who_exists(given: str, kim: Holder) -> None:
    stranger = kim.elsewhere()
    names = {**kim.names, "purpose": "product_news"}
    answers = [
        stranger.post(FORM, **{**names, **changed})
        for changed in (
            {},
            {"username": "nobody"},
            {"account_name": "nowhere"},
            {"service": "intesis"},
            {"purpose": "surveys"},
        )
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1


def test_the_form_is_checked_and_throttled(kim: Holder) -> None:
    stranger = kim.elsewhere()
    assert stranger.post(FORM, **kim.names, purpose="").status_code == 422
    statuses = [stranger.post(FORM, **kim.names, purpose="surveys").status_code for _ in range(9)]
    assert (statuses[0], statuses[-1]) == (200, 429)


def test_no_link_is_written_to_the_access_log(
    given: str, kim: Holder, app: Flask, tmp_path: Path, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    run = app.extensions[EXTENSION]
    logged = replace(run.services, settings=replace(run.services.settings, access_log_dir=str(tmp_path)))
    app.extensions[EXTENSION] = replace(run, services=logged)
    stranger = kim.elsewhere()
    stranger.get(given)
    stranger.http.post(given, data=CLICK)
    kim.post(ASK, PAGE)
    post_mail(postman, time)
    confirmation = path_in(mailbox)
    stranger.post(confirmation)
    lines = "".join(file.read_text() for file in tmp_path.iterdir())
    assert "POST /portal/unsubscribe/<token> " in lines
    assert "POST /portal/consents/confirm/<token> " in lines
    assert [path for path in (given, confirmation) if path.rpartition("/")[2] in lines] == []
