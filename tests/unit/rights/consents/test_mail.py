"""What is told about a consent: the record of what was said, the mails, and the headers for senders."""

from pathlib import Path

import pytest

from cloudpriv import mail_templates
from cloudpriv.bootstrap import Services
from cloudpriv.platform.errors import (
    InvalidError,
)
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents import doors, history
from cloudpriv.rights.consents import mail as consent_mail
from cloudpriv.rights.consents import records as consent_records
from tests.consents import MOMENT, NEWS, URL, Kim
from tests.factories import BACKEND, NOW, transaction
from tests.mailbox import Mailbox


@pytest.mark.parametrize("address", [None, "", "kim"])
def test_without_an_address_there_is_nothing_to_confirm_by(
    services: Services, worker_services: Services, mailbox: Mailbox, address: str | None
) -> None:
    kim = Kim(services, worker_services, mailbox, email=address)
    with pytest.raises(InvalidError, match="no e-mail address"):
        kim.ask()
    assert kim.states() == []


def test_senders_get_the_headers_that_let_their_readers_go(kim: Kim) -> None:
    kim.give()
    with transaction(kim.services, BACKEND) as tx:
        news, surveys = consents.state_of(tx, URL, kim.account_id, kim.person_id)
    assert surveys.headers == {}
    assert news.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert news.headers["List-Unsubscribe"].startswith(f"<{URL}/portal/unsubscribe/")
    with transaction(kim.services) as tx:
        token = news.headers["List-Unsubscribe"].rpartition("/")[2].removesuffix(">")
        assert doors.look_before_leaving(tx, token).purpose == NEWS


def test_one_click_is_offered_by_https_alone(kim: Kim) -> None:
    kim.give()
    with transaction(kim.services, BACKEND) as tx:
        news, _ = consents.state_of(tx, "http://127.0.0.1:8080/", kim.account_id, kim.person_id)
    assert list(news.headers) == ["List-Unsubscribe"]
    assert news.headers["List-Unsubscribe"].startswith("<http://127.0.0.1:8080/portal/unsubscribe/")


@pytest.mark.parametrize("language", mail_templates.LOCALES)
def test_the_mails_are_written_in_the_readers_language(
    services: Services, worker_services: Services, mailbox: Mailbox, language: str
) -> None:
    kim = Kim(services, worker_services, mailbox, locale=language)
    kim.give()
    kim.post()
    kim.ask_to_withdraw()
    kim.post()
    words = consent_records.texts(NEWS)
    assert len(mailbox.received) == 3
    for message, body in zip(mailbox.received, mailbox.texts(), strict=True):
        flowing = " ".join(body.split())
        assert words["title"][language] in message["Subject"]
        assert words["question"][language] in flowing
        assert "Kim Example" in flowing
        assert "$" not in body
        assert max(len(line) for line in body.splitlines() if "http" not in line and "    " not in line) <= 80
    receipt = mailbox.received[1]
    assert receipt["List-Unsubscribe"] == f"<{URL}/portal/unsubscribe/{kim.link(1)}>"
    assert receipt["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "List-Unsubscribe" not in mailbox.received[0]


@pytest.mark.parametrize("kind", [consent_mail.CONFIRM, consent_mail.WITHDRAW, consent_mail.RECEIPT])
def test_the_texts_of_a_mail_use_the_same_values_in_every_language(kind: str) -> None:
    texts = mail_templates.texts(kind).values()
    assert len({frozenset(each.body.get_identifiers()) for each in texts}) == 1
    assert all(each.subject.is_valid() and each.body.is_valid() for each in texts)


def test_a_mail_about_what_was_withdrawn_meanwhile_is_not_sent(kim: Kim, mailbox: Mailbox) -> None:
    kim.ask()
    kim.withdraw()
    assert kim.post() == [("consent_confirm", "dropped", "not_open")]
    assert mailbox.received == []


def test_the_record_holds_what_was_said_to_whom_in_the_terms_of_the_standard(kim: Kim) -> None:
    kim.give()
    with transaction(kim.services, kim.actor) as tx:
        asked, given = (event.record for event in consents.read_history(tx, kim.account_id, kim.person_id))
    controller = kim.services.policy.controller_of("talk2m")
    assert given["schema_version"] == "ISO/IEC TS 27560:2023"
    assert given["record_id"] == asked["record_id"]
    assert given["pii_principal_id"] == str(kim.person_id)
    assert given["privacy_notice"]["version"] == kim.services.policy.version
    [purpose] = given["purposes"]
    assert purpose["statement"] == "Yes, send me news about products and services by e-mail."
    assert purpose["lawful_basis"]["article"] == "6(1)(a)"
    assert purpose["pii_controllers"] == [controller.key]
    assert purpose["jurisdiction"] == "BE"
    assert purpose["retention_period"] == "Until you unsubscribe."
    assert [each["pii_type"] for each in purpose["pii_information"]] == ["contact_details"]
    assert "marketing_partners" in {each["party_id"] for each in purpose["recipient_third_parties"]}
    assert all(purpose.values())
    assert [party["party_role"] for party in given["party_identification"]] == ["pii_controller", "authority"]
    assert asked["event"] == {
        "event_time": NOW.isoformat().replace("+00:00", "Z"),
        "event_type": "explicit",
        "event_state": "requested",
        "entity_id": f"owner:{kim.person_id}",
        "method": "portal",
        "validity_duration": "P7D",
    }
    assert (given["event"]["method"], given["event"]["entity_id"]) == ("mail_link", f"owner:{kim.person_id}")


@pytest.mark.parametrize("language", mail_templates.LOCALES)
def test_what_is_offered_is_worded_in_every_language(services: Services, language: str) -> None:
    for purpose in consent_records.offered(services.policy):
        told = consent_records.offer(services.policy, "intesis", purpose, f"{language}-XX")
        assert told.language == language
        assert told.controller["country"] == "ES"
        assert all((told.title, told.question, told.withdrawal, told.recipients, told.activity))
    english = consent_records.offer(services.policy, "intesis", NEWS, "de")
    assert english.language == "en"
    if language != "en":
        assert consent_records.offer(services.policy, "intesis", NEWS, language).question != english.question


def test_the_documentation_names_every_field_of_a_record_and_no_other(kim: Kim) -> None:
    kim.give()
    with transaction(kim.services, kim.actor) as tx:
        for event in consents.read_history(tx, kim.account_id, kim.person_id):
            record = event.record
            used = [*record, *record["purposes"][0], *record["event"]]
    page = Path(__file__).parents[4].joinpath("docs", "consents.md").read_text(encoding="utf-8")
    table = page.partition("| field |")[2].partition("\n\n")[0]
    assert {line.split("`")[1] for line in table.splitlines()[2:]} == set(used)


@pytest.mark.parametrize("language", mail_templates.LOCALES)
def test_the_link_is_good_until_the_moment_that_the_mail_names_and_no_earlier(
    services: Services, worker_services: Services, mailbox: Mailbox, language: str
) -> None:
    kim = Kim(services, worker_services, mailbox, locale=language)
    kim.ask()
    kim.post()
    ends = NOW + history.LASTS
    flowing = " ".join(mailbox.texts()[0].split())
    assert mail_templates.written_day(ends.date(), language) in flowing
    assert f"{ends:%H:%M} UTC" in flowing
    assert {"en": "for seven days", "sv": "i sju dagar", "fr": "sept jours", "es": "durante siete días"}[language] in flowing
    assert kim.confirm(now=ends - MOMENT).state == "answered"
