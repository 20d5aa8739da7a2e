"""What mail servers report of mail that they could not deliver (RFC 3464), in the forms that are in use."""

from base64 import b64encode
from typing import Final
from uuid import UUID

from tests.mailbox import SENDER

FORMS: Final = ("whole", "headers", "encoded", "answer", "references", "nothing")


def report(mail_id: UUID, *, action: str = "failed", status: str = "5.1.1", form: str = "whole") -> bytes:
    """A report on a mail of ours; `form` says what is sent back of it, or how else it is named."""
    ours = f"<{mail_id}@{SENDER.partition('@')[2]}>"
    naming = {"answer": [f"In-Reply-To: {ours}"], "references": ["References: <1@other.example>", f" {ours}"]}
    lines = [
        "From: MAILER-DAEMON@mail.example",
        f"To: {SENDER}",
        "Subject: Undelivered Mail Returned to Sender",
        *naming.get(form, []),
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_cut"',
        "",
        "--=_cut",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "I am sorry: <kim@example.com> is not here.",
        "",
        "--=_cut",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; mail.example",
        "",
        "Final-Recipient: rfc822; kim@example.com",
        f"Action: {action}",
        f"Status: {status}",
        "Diagnostic-Code: smtp; 550 5.1.1 <kim@example.com> is not here",
        "",
        *_sent_back(ours, form),
        "--=_cut--",
        "",
    ]
    return "\r\n".join(lines).encode()


def _sent_back(ours: str, form: str) -> list[str]:
    headers = ["Return-Path: <x>", f"From: {SENDER}", "To: kim@example.com", f"Message-ID: {ours}", "Subject: private", ""]
    match form:
        case "whole":
            return ["--=_cut", "Content-Type: message/rfc822", "", *headers, "Hello Kim,", ""]
        case "headers":
            return ["--=_cut", "Content-Type: text/rfc822-headers", "", *headers]
        case "encoded":
            encoded = b64encode("\r\n".join(headers).encode()).decode()
            return ["--=_cut", "Content-Type: text/rfc822-headers", "Content-Transfer-Encoding: base64", "", encoded, ""]
        case _:
            return []
