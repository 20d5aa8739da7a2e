"""What values of settings may be: each check raises ValidationError with a few words to whoever set it."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from limits import parse
from marshmallow import ValidationError

from cloudpriv.platform import breached, mail

WITHOUT = "none"  # said where an installation has no processor plane, so that nobody forgets to name it


def url(*schemes: str) -> Callable[[str], None]:
    """A URL of one of these schemes."""

    def check(value: str) -> None:
        if urlsplit(value).scheme not in schemes:
            raise ValidationError(f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")

    return check


def smtp_server(value: str) -> None:
    """A server that takes mail, by its URL."""
    try:
        mail.check_url(value)
    except ValueError:
        raise ValidationError("must be smtp:// or smtps://[user:password@]host[:port]") from None


def address(value: str) -> None:
    """An e-mail address alone."""
    try:
        mail.check_address(value)
    except ValueError:
        raise ValidationError("must be one e-mail address, without a name") from None


def eraser(value: str) -> None:
    """A database, or that there is no processor plane."""
    if value != WITHOUT:
        url("postgresql+psycopg")(value)


def networks(value: str) -> None:
    """Networks (CIDR) with commas between them, or none."""
    try:
        for text in filter(None, value.split(",")):
            ip_network(text.strip())
    except ValueError:
        raise ValidationError("must be networks such as 10.20.0.0/16, with commas between them") from None


def rate(value: str) -> None:
    """A number of requests a time."""
    try:
        parse(value)
    except ValueError:
        raise ValidationError("must be a rate such as 60/minute") from None


def listen(value: str) -> None:
    """An address and a port to listen on."""
    host, _, port = value.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValidationError("must be an address and a port, such as 127.0.0.1:8080")


def file(value: str) -> None:
    """A file that is there."""
    if not Path(value).is_file():
        raise ValidationError("names no readable file")


def hash_list(value: str) -> None:
    """A list of breached passwords in the form that it is looked up in."""
    try:
        breached.check_file(Path(value))
    except OSError:
        raise ValidationError("names no readable file") from None
    except ValueError as fault:
        raise ValidationError(
            f"must be SHA-1 hashes in order, each with its count, as Have I Been Pwned has them: {fault}"
        ) from None


def folder(value: str) -> None:
    """A folder that is there."""
    if not Path(value).is_dir():
        raise ValidationError("names no folder")
