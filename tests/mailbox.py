"""A real SMTP server for tests, which refuses when told to, and what it took."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import IPv4Address
from pathlib import Path
from threading import Event, Thread
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cloudpriv.bootstrap import Services
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.mail import Mailer

SENDER = "no-reply@cloud.example"


@dataclass
class Mailbox:
    """What the server took, to whom, and whether by TLS; `refusals` are its next replies at a stage (RCPT, DATA, …)."""

    port: int = 0
    received: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    signed_in: list[str] = field(default_factory=list)
    refusals: dict[str, list[str]] = field(default_factory=dict)

    def refusal(self, stage: str) -> str | None:
        """The next refusal at a stage."""
        waiting = self.refusals.get(stage)
        return waiting.pop(0) if waiting else None

    # aiosmtpd calls these by their names, with itself and the session before what they need.
    async def handle_MAIL(self, _: SMTP, __: Any, envelope: Envelope, address: str, *___: Any) -> str:  # noqa: N802
        """Take a sender."""
        if said := self.refusal("MAIL"):
            return said
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, _: SMTP, __: Any, envelope: Envelope, address: str, *___: Any) -> str:  # noqa: N802
        """Take a recipient."""
        if said := self.refusal("RCPT"):
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _: Any, envelope: Envelope) -> str:  # noqa: N802
        """Take a message."""
        if said := self.refusal("DATA"):
            return said
        assert isinstance(envelope.content, bytes)
        assert server.transport is not None
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.received.append(message)
        self.recipients += envelope.rcpt_tos
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"

    async def handle_QUIT(self, server: SMTP, *_: Any) -> str:  # noqa: N802
        """Say goodbye, or break off instead."""
        if self.refusal("QUIT"):
            assert server.transport is not None
            server.transport.close()
        return "221 Bye"

    def sign_in(self, _: SMTP, __: Any, ___: Envelope, ____: str, given: Any) -> AuthResult:
        """Let in who knows the password."""
        right = isinstance(given, LoginPassword) and given.password == b"p@ss"
        if right:
            self.signed_in.append(given.login.decode())
        return AuthResult(success=right, handled=False)

    def texts(self) -> list[str]:
        """The bodies of what it took."""
        return [message.get_content().replace("\r\n", "\n") for message in self.received]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"smtp://127.0.0.1:{self.port}"


@contextmanager
def mail_server(mailbox: Mailbox | None = None, tls: ssl.SSLContext | None = None, wrapped: bool = False,
                **options: Any) -> Iterator[Mailbox]:  # fmt: skip
    """A server on a free port, or the mailbox's own if it has one; TLS by STARTTLS, or from the first byte if `wrapped`."""
    found = mailbox or Mailbox()
    started, loop = Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    def protocol() -> SMTP:
        offered = None if wrapped else tls
        return SMTP(found, hostname="mail.example", loop=loop, tls_context=offered, authenticator=found.sign_in, **options)

    async def serve() -> None:
        server = await loop.create_server(protocol, "127.0.0.1", found.port, ssl=tls if wrapped else None)
        found.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        await asyncio.gather(*(_cancelled(task) for task in asyncio.all_tasks() - {asyncio.current_task()}))

    thread = Thread(target=lambda: loop.run_until_complete(serve()), name="mail server")
    thread.start()
    try:
        assert started.wait(60)
        yield found
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait([task])


def with_mail(services: Services, mailbox: Mailbox | None) -> Services:
    """The services with a mailer to this server, or to none."""
    return replace(services, mailer=Mailer(mailbox.url if mailbox else None, SENDER))


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for 127.0.0.1, and the file of the certificate that whoever trusts it has to know."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(utc_now() - timedelta(hours=1))
        .not_valid_after(utc_now() + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
