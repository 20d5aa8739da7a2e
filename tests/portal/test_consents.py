"""The page of consents: what is asked word for word, two acts to give, one to withdraw."""

from dataclasses import replace
from html import unescape

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery, people
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents import records as consent_records
from tests.factories import transaction
from tests.holders import Holder, Time
from tests.mailbox import Mailbox
from workers import jobs

PAGE = "/portal/consents"
ASK, WITHDRAW = f"{PAGE}/product_news/ask", f"{PAGE}/product_news/withdraw"


def post_mail(postman: Services, time: Time) -> None:
    """Have what waits in the outbox sent."""
    built = replace(postman, clock=time)
    jobs.SERVICES.set(built)
    with transaction(built, now=time()) as tx:
        waiting = delivery.unfinished(tx)
    for mail_id in waiting:
        jobs.run_mail(str(mail_id))


def path_in(mailbox: Mailbox) -> str:
    """The path of the link in the last mail."""
    line = next(line.strip() for line in mailbox.texts()[-1].splitlines() if "/portal/" in line)
    return line[line.index("/portal/") :]


def states(services: Services, holder: Holder) -> list[str]:
    with transaction(services) as tx:
        return [event.state for event in consents.read_history(tx, holder.account_id, holder.person_id)]


def test_consent_is_given_by_two_acts_and_withdrawn_by_one(
    kim: Holder, services: Services, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    kim.sign_in()
    asked = kim.post(ASK, PAGE).location
    assert "We have sent you a mail." in kim.get(str(asked)).text
    assert "not confirmed yet" in kim.get(PAGE).text
    post_mail(postman, time)
    stranger = kim.elsewhere()
    path = path_in(mailbox)
    page = stranger.get(path)
    assert page.status_code == 200
    assert "Yes, I consent" in page.text
    assert states(services, kim) == ["requested"]
    assert "Your consent is given" in stranger.post(path).text
    assert states(services, kim) == ["requested", "given"]
    withdrawn = kim.post(WITHDRAW, PAGE).location
    assert "Your consent is withdrawn, with effect at once." in kim.get(str(withdrawn)).text
    assert states(services, kim) == ["requested", "given", "withdrawn"]


def test_a_mail_that_does_not_go_out_again_is_not_told_to_be_sent(
    kim: Holder, postman: Services, mailbox: Mailbox, time: Time
) -> None:
    kim.sign_in()

    def ask_again() -> bool:
        """Whether the page says that a mail was sent."""
        page = kim.get(str(kim.post(ASK, PAGE).location)).text
        assert ("We have sent you a mail." in page) != ("We sent you this mail a few minutes ago" in page)
        post_mail(postman, time)
        return "We have sent you a mail." in page

    assert ask_again()
    time.pass_by(minutes=2)
    assert not ask_again()
    assert len(mailbox.received) == 1
    time.pass_by(minutes=4)
    assert ask_again()
    assert len(mailbox.received) == 2
    time.pass_by(minutes=4)
    assert not ask_again(), "it is counted from the mail, not from the first act"
    assert len(mailbox.received) == 2


def test_of_a_mail_that_waits_nobody_is_told_that_it_was_sent_before(kim: Holder) -> None:
    kim.sign_in()
    asked = [kim.get(str(kim.post(path, PAGE).location)).text for path in (ASK, ASK, f"{PAGE}/surveys/ask")]
    assert ["We have sent you a mail." in page for page in asked] == [True, True, True]


def test_the_question_is_shown_word_for_word_as_it_is_recorded(kim: Holder, services: Services) -> None:
    kim.sign_in()
    kim.choose_language("sv")
    page = unescape(kim.get(PAGE).text)
    told = consent_records.texts("product_news")["question"]["sv"]
    assert told in page
    kim.post(ASK, PAGE)
    with transaction(services) as tx:
        [event] = consents.read_history(tx, kim.account_id, kim.person_id)
    assert event.record["purposes"][0]["statement"] == told
    assert event.record["language"] == "sv"
    for part in (*event.record["purposes"][0]["purpose_description"], event.record["purposes"][0]["retention_period"]):
        assert part in page


def test_who_is_not_signed_in_sees_no_consents(kim: Holder) -> None:
    answer = kim.get(PAGE)
    assert (answer.status_code, answer.location) == (303, "/portal/sign-in?next=%2Fportal%2Fconsents")


def test_a_form_that_is_not_ours_changes_nothing(kim: Holder, services: Services) -> None:
    kim.sign_in()
    for path in (ASK, WITHDRAW):
        assert kim.post(path, csrf_token="").status_code == 403
    assert states(services, kim) == []


def test_a_member_has_consents_of_their_own(kim: Holder, alex: Holder, services: Services) -> None:
    alex.sign_in().post(ASK, PAGE)
    assert (states(services, alex), states(services, kim)) == (["requested"], [])


def test_without_an_address_the_page_says_so(kim: Holder, services: Services) -> None:
    with transaction(services) as tx:
        people.change_person(tx, kim.account_id, kim.person_id, 1, {"email": None})
    answer = kim.sign_in().post(ASK, PAGE)
    assert answer.status_code == 422
    assert "There is no e-mail address on record" in answer.text


def test_an_unknown_purpose_is_not_found(kim: Holder) -> None:
    assert kim.sign_in().post(f"{PAGE}/everything/ask", PAGE).status_code == 404


def test_a_restricted_account_is_offered_no_consent(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in()
    token = kim.token(PAGE)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'restricted'"))
    page = kim.get(PAGE)
    assert page.status_code == 200
    assert "I consent" not in page.text
    assert kim.post(ASK, csrf_token=token).status_code == 423


@pytest.mark.parametrize("language", ["en", "sv", "fr", "es"])
def test_every_state_has_its_words(
    kim: Holder, postman: Services, mailbox: Mailbox, time: Time, services: Services, language: str
) -> None:
    kim.sign_in()
    kim.choose_language(language)
    pages = [kim.get(PAGE).text]
    kim.post(ASK, PAGE)
    pages.append(kim.get(PAGE).text)
    post_mail(postman, time)
    kim.post(path_in(mailbox))
    pages.append(kim.get(PAGE).text)
    kim.post(WITHDRAW, PAGE)
    pages.append(kim.get(PAGE).text)
    assert len({page.partition("<h2")[2] for page in pages}) == 4
