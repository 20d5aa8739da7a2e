"""Handing mail to a real SMTP server: what is final, what is not, and what never leaves its header."""

import socket
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from cloudpriv.platform.ids import new_id
from cloudpriv.platform.mail import MailDelayedError, Mailer, MailRefusedError, check_address, check_url, compose
from tests.factories import NOW
from tests.mailbox import SENDER, Mailbox, certificate, mail_server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What a server without TLS took."""
    with mail_server() as found:
        yield found


def message(recipient: str = "kim@example.com", subject: str = "Hej", body: str = "Vad är det för färg?\n") -> EmailMessage:
    return compose(new_id(), NOW, sender=SENDER, recipient=recipient, subject=subject, body=body)


def test_a_message_arrives_as_it_was_composed(mailbox: Mailbox) -> None:
    sent = message(body="Vad är det för färg?\n.\n..\nslut\n")
    Mailer(mailbox.url, SENDER).send(sent)
    [got] = mailbox.received
    assert mailbox.recipients == ["kim@example.com"]
    assert mailbox.texts()[0] == "Vad är det för färg?\n.\n..\nslut\n"
    assert (got["From"], got["To"], got["Subject"]) == (SENDER, "kim@example.com", "Hej")
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["Date"].datetime == NOW
    assert got["Message-ID"] == sent["Message-ID"]


def test_a_domain_of_other_letters_is_written_in_ascii(mailbox: Mailbox) -> None:
    Mailer(mailbox.url, SENDER).send(message("kim@räksmörgås.example"))
    assert mailbox.recipients == ["kim@xn--rksmrgs-5wao1o.example"]


@pytest.mark.parametrize(
    "address",
    [
        "kim@example.com\r\nBcc: eve@example.com",
        "kim@example.com\nSubject: won",
        "kim@example.com, eve@example.com",
        "kim@example.com>\r\nDATA\r\n",
        "<kim@example.com>",
        "kim@example.com\x00",
        "kim",
        "kim@",
        "@",
        "",
    ],
)
def test_what_is_not_one_address_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ValueError, match=r"^not an address$") as caught:
        message(address)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(ValueError, match=r"^not an address$"):
        check_address(address)


@pytest.mark.parametrize("subject", ["Hej\r\nBcc: eve@example.com", "Hej\nBcc: eve@example.com"])
def test_a_subject_cannot_add_a_header(subject: str) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        message(subject=subject)


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
@pytest.mark.parametrize("reply", ["550 5.1.1 kim@example.com unknown", "552 5.3.4 too much"])
def test_a_refusal_for_good_is_final(mailbox: Mailbox, stage: str, reply: str) -> None:
    mailbox.refusals[stage] = [reply]
    with pytest.raises(MailRefusedError, match=f"^smtp_{reply[:3]}$"):
        Mailer(mailbox.url, SENDER).send(message())
    assert mailbox.received == []


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("RCPT", "450 4.2.0 greylisted"),
        ("RCPT", "421 closing"),
        ("DATA", "451 4.3.0 later"),
        ("MAIL", "452 4.3.1 full"),
        ("MAIL", "550 5.7.1 our own address is refused, which is no fault of the recipient"),
    ],
)
def test_every_other_refusal_is_worth_another_attempt(mailbox: Mailbox, stage: str, reply: str) -> None:
    mailbox.refusals[stage] = [reply]
    mailer, sent = Mailer(mailbox.url, SENDER), message()
    with pytest.raises(MailDelayedError, match=f"^smtp_{reply[:3]}$"):
        mailer.send(sent)
    mailer.send(sent)
    assert len(mailbox.received) == 1


def test_a_message_that_was_taken_is_sent_however_the_server_leaves(mailbox: Mailbox) -> None:
    mailbox.refusals["QUIT"] = ["breaks off"]
    Mailer(mailbox.url, SENDER).send(message())
    assert (len(mailbox.received), mailbox.refusals["QUIT"]) == (1, [])


def test_a_server_that_is_away_or_unknown_is_worth_another_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(MailDelayedError, match=r"^unreachable$"):
        Mailer(f"smtp://127.0.0.1:{port}", SENDER).send(message())
    with pytest.raises(MailDelayedError, match=r"^no_server$"):
        Mailer(None, SENDER).send(message())


@pytest.mark.parametrize(("scheme", "wrapped"), [("smtp", False), ("smtps", True)])
def test_mail_goes_by_tls_to_a_server_that_is_trusted_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, wrapped: bool
) -> None:
    context, public = certificate(tmp_path)
    with mail_server(tls=context, wrapped=wrapped, auth_require_tls=not wrapped) as mailbox:
        mailer = Mailer(f"{scheme}://kim:p%40ss@127.0.0.1:{mailbox.port}", SENDER)
        with pytest.raises(MailDelayedError, match=r"^certificate$"):
            mailer.send(message())
        assert (mailbox.received, mailbox.signed_in) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(public))
        mailer.send(message())
        assert (len(mailbox.received), mailbox.encrypted, mailbox.signed_in) == (1, [True], ["kim"])


def test_a_wrong_password_of_ours_is_worth_another_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, public = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    with mail_server(tls=context) as mailbox, pytest.raises(MailDelayedError, match=r"^smtp_535$"):
        Mailer(f"smtp://kim:wrong@127.0.0.1:{mailbox.port}", SENDER).send(message())


def test_a_password_is_not_sent_without_tls() -> None:
    with mail_server(auth_require_tls=False) as mailbox:
        with pytest.raises(MailDelayedError, match=r"^no_tls_for_password$"):
            Mailer(f"smtp://kim:p%40ss@127.0.0.1:{mailbox.port}", SENDER).send(message())
        assert mailbox.signed_in == []


def test_a_mailer_does_not_show_its_password() -> None:
    assert "secret" not in repr(Mailer("smtp://kim:secret@mail.example", SENDER))


@pytest.mark.parametrize("url", ["smtp://", "http://mail.example", "smtp://mail.example:x", "smtp://mail.example:0", "mail"])
def test_what_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says
        check_url(url)


@pytest.mark.parametrize("url", ["smtp://mail.example", "smtps://kim:p%40ss@mail.example:587", "smtp://[::1]:2525"])
def test_a_server_is_named_by_a_url(url: str) -> None:
    check_url(url)


def test_a_long_url_in_a_header_arrives_as_a_url(mailbox: Mailbox) -> None:
    url = f"<https://cloud.example/portal/unsubscribe/{'A' * 64}>"
    headers = {"List-Unsubscribe": url, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    sent = compose(new_id(), NOW, sender=SENDER, recipient="kim@example.com", subject="x", body="y", headers=headers)
    assert f"\r\nList-Unsubscribe: {url}\r\n".encode() in sent.as_bytes()
    Mailer(mailbox.url, SENDER).send(sent)
    assert mailbox.received[0]["List-Unsubscribe"] == url
    assert mailbox.received[0]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_a_url_breaks_out_of_no_header() -> None:
    with pytest.raises(ValueError, match=r"newline|linefeed"):
        compose(new_id(), NOW, sender=SENDER, recipient="kim@example.com", subject="x", body="y",
                headers={"List-Unsubscribe": "<https://x>\r\nBcc: eve@example.com"})  # fmt: skip
