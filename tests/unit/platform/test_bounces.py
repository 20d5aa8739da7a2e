"""Reading what mail servers report: a failure of ours is found in each form that they use, and nothing else is."""

from email.message import EmailMessage
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpriv.platform.bounces import LARGEST, Bounce, read_bounce
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.mail import compose
from tests.bounces import FORMS, report
from tests.factories import NOW
from tests.mailbox import SENDER

MAIL_ID = UUID("01a20531-2813-74fc-b241-cd7d987d8b78")


def failed(**changes: str) -> bytes:
    return report(MAIL_ID, **changes)


def test_a_failure_names_our_mail_and_why() -> None:
    assert read_bounce(failed()) == Bounce(MAIL_ID, "5.1.1")


def test_the_id_is_the_one_that_our_messages_carry() -> None:
    mail_id = new_id()
    sent = compose(mail_id, NOW, sender=SENDER, recipient="kim@example.com", subject="Hej", body="Hej")
    found = read_bounce(failed().replace(f"<{MAIL_ID}@cloud.example>".encode(), sent["Message-ID"].encode()))
    assert found == Bounce(mail_id, "5.1.1")


@pytest.mark.parametrize(
    ("given_status", "read"),
    [
        ("5.1.1", "5.1.1"),
        ("4.4.7", "4.4.7"),
        ("5.7.1 (delivery not authorised)", "5.7.1"),
        ("\r\n 5.2.2", "5.2.2"),
        ("5.999.999", "5.999.999"),
        ("2.0.0", "5.0.0"),
        ("5.1.1000", "5.0.0"),
        ("kim@example.com", "5.0.0"),
        ("", "5.0.0"),
    ],
)
def test_only_a_status_code_is_taken_from_the_status(given_status: str, read: str) -> None:
    found = read_bounce(failed(status=given_status))
    assert found is not None
    assert found.status == read


@pytest.mark.parametrize("action", ["failed", "Failed", " FAILED (bad mailbox)"])
def test_an_action_is_read_in_any_case(action: str) -> None:
    assert read_bounce(failed(action=action)) is not None


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded", "", "x"])
def test_what_did_not_fail_is_no_bounce(action: str) -> None:
    assert read_bounce(failed(action=action)) is None


@pytest.mark.parametrize("form", [form for form in FORMS if form != "nothing"])
def test_our_message_is_found_however_it_is_named(form: str) -> None:
    assert read_bounce(failed(form=form)) == Bounce(MAIL_ID, "5.1.1")


def test_a_report_that_does_not_name_it_is_nothing() -> None:
    assert read_bounce(failed(form="nothing")) is None


def test_of_several_recipients_the_failed_one_counts() -> None:
    delivered = b"Final-Recipient: rfc822; robin@example.com\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n"
    two = failed().replace(b"Final-Recipient", delivered + b"Final-Recipient")
    assert two != failed()
    assert read_bounce(two) == Bounce(MAIL_ID, "5.1.1")


def answer() -> bytes:
    """What a person writes back, with our mail quoted whole."""
    message = EmailMessage()
    message["In-Reply-To"] = f"<{MAIL_ID}@cloud.example>"
    message.set_content("Action: failed\nStatus: 5.1.1\n")
    return message.as_bytes()


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"\x00\xff" * 1000,
        b"Subject: hello\r\n\r\nhow are you?\r\n",
        answer(),
        failed().replace(str(MAIL_ID).encode(), b"someone-else"),
        failed().replace(str(MAIL_ID).encode(), b"01a20531"),
        failed()[: len(failed()) // 2],
        failed().replace(b"delivery-status", b"plain"),
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (depth, depth) for depth in range(5000)),
        b"Content-Type: message/rfc822\n\n" * 5000,
        b"Content-Type: message/delivery-status\n\n" + b"Action: failed\n\n" * 1000,
        b'Content-Type: text/plain; charset="\xff\xfe"\nContent-Transfer-Encoding: base64\n\n!!!!',
    ],
)
def test_what_is_foreign_or_broken_is_nothing(foreign: bytes) -> None:
    assert read_bounce(foreign) is None


def test_what_lies_beyond_any_report_of_ours_is_not_looked_at() -> None:
    assert read_bounce(b"X: " + b"x" * LARGEST + b"\r\n" + failed()) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    read_bounce(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_to_a_report_makes_it_fail_or_say_something_else(data: st.DataObject) -> None:
    whole = failed()
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 200))
    found = read_bounce(whole[:at] + data.draw(st.binary(max_size=40)) + whole[at + cut :])
    assert found is None or found.status[0] in "45"
