"""Mail: plain text messages, handed to one SMTP server (RFC 5321) whose certificate is verified wherever it offers TLS.

A fault is final only when the server refuses this recipient or this message for good. Whatever else goes wrong, a wrong
password of ours included, may be right later. Neither faults nor logs repeat what the server said, since it may quote an
address.
"""

import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from uuid import UUID

TIMEOUT_SECONDS: Final = 10.0  # of each answer; a delivery has about ten
PORTS: Final = {"smtp": 25, "smtps": 465}


class _UrlHeader(UnstructuredHeader, BaseHeader):
    """A header of URLs (RFC 2369), on one line: the library would make an encoded word of a long one, which is no URL."""

    def fold(self, *, policy: Policy) -> str:
        """The header as it is sent."""
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS: Final = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _UrlHeader)


class MailDelayedError(Exception):
    """Not delivered, and another attempt may be; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class MailRefusedError(Exception):
    """The server will never take it (a 5xx reply, RFC 5321, 4.2.1); `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, repr=False)
class Mailer:
    """The server that takes our mail and the address that it comes from; without a URL every delivery is delayed."""

    url: str | None
    sender: str

    def send(self, message: EmailMessage) -> None:
        """Hand the message over. Raises MailRefusedError when it is refused for good, MailDelayedError otherwise.

        When it returns, the server has taken the message (a reply of 250 to DATA).
        """
        if self.url is None:
            raise MailDelayedError("no_server")
        with _session(urlsplit(self.url)) as server:
            _hand_over(server, message)


def compose(mail_id: UUID, now: datetime, *, sender: str, recipient: str, subject: str, body: str,
            headers: Mapping[str, str] | None = None) -> EmailMessage:  # fmt: skip
    """A message to one recipient. Raises ValueError for an address that is not exactly one, or breaks out of its header.

    `headers` are further ones, such as List-Unsubscribe. Its Message-ID is made of `mail_id`, so that one delivered twice
    can be recognised; it asks for no automatic answer (RFC 3834), and is all ASCII on its way.
    """
    message = EmailMessage(policy=SMTP.clone(header_factory=_HEADERS))
    message["From"], message["To"] = _address(sender), _address(recipient)
    message["Subject"] = subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{mail_id}@{_address(sender).domain}>"
    message["Auto-Submitted"] = "auto-generated"
    for name, value in (headers or {}).items():
        message[name] = value
    message.set_content(body, cte="quoted-printable")
    return message


def check_address(text: str) -> None:
    """Raises ValueError unless `text` is one e-mail address (RFC 5322, 3.4.1), without a name."""
    _address(text)


def check_url(text: str) -> None:
    """Raises ValueError unless `text` names an SMTP server: `smtp://` or `smtps://[user:password@]host[:port]`."""
    url = urlsplit(text)
    if not (url.scheme in PORTS and url.hostname and (url.port is None or url.port > 0)):
        raise ValueError("not an SMTP server")


def _address(text: str) -> Address:
    """The address with its domain in ASCII (RFC 5890); the parser's own faults would repeat it."""
    try:
        parsed = Address(addr_spec=text)
        return Address(username=parsed.username, domain=parsed.domain.encode("idna").decode())
    except (ValueError, IndexError, MessageError):
        raise ValueError("not an address") from None


@contextmanager
def _session(url: SplitResult) -> Iterator[smtplib.SMTP]:
    """A connection that is ready to take a message, and is left at the end. Raises MailDelayedError for all that fails."""
    with ExitStack() as cleanup:
        try:
            server = _connected(url)
            cleanup.callback(_leave, server)
            _secure(server, url)
            yield server
        except (smtplib.SMTPException, OSError) as fault:
            raise MailDelayedError(_code(fault)) from None


def _connected(url: SplitResult) -> smtplib.SMTP:
    host, port = url.hostname or "", url.port or PORTS[url.scheme]
    if url.scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)


def _secure(server: smtplib.SMTP, url: SplitResult) -> None:
    """Take TLS when it is offered, then sign in; a password is never sent without TLS."""
    server.ehlo_or_helo_if_needed()
    encrypted = url.scheme == "smtps"
    if not encrypted and server.has_extn("starttls"):
        server.starttls(context=ssl.create_default_context())
        encrypted = True
    if url.username is None:
        return
    if not encrypted:
        raise MailDelayedError("no_tls_for_password")
    server.login(unquote(url.username), unquote(url.password or ""))


def _hand_over(server: smtplib.SMTP, message: EmailMessage) -> None:
    try:
        server.send_message(message)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as fault:
        if _status(fault) < 500:
            raise
        raise MailRefusedError(_code(fault)) from None


def _leave(server: smtplib.SMTP) -> None:
    """Say goodbye; whether the server hears it changes nothing."""
    with suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()


def _code(fault: Exception) -> str:
    status = _status(fault)
    if status > 0:
        return f"smtp_{status}"
    return "certificate" if isinstance(fault, ssl.SSLCertVerificationError) else "unreachable"


def _status(fault: Exception) -> int:
    """The server's reply code, 0 when there was none."""
    if isinstance(fault, smtplib.SMTPRecipientsRefused):
        return min(code for code, _ in fault.recipients.values())
    return int(fault.smtp_code) if isinstance(fault, smtplib.SMTPResponseException) else 0
