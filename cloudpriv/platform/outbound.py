"""Requests to URLs that customers name: to public addresses alone, so that nobody reaches what is inside by way of us.

A name is resolved once and the address that was judged is the one connected to, so that no second answer of a name server
counts. Redirects are not followed, what is answered is not read beyond its status, and all of it ends in time.
"""

import http.client
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Timer
from typing import Final
from urllib.parse import SplitResult, urlsplit

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
PORTS: Final = {"https": 443, "http": 80}
LONGEST: Final = 2000  # characters of a URL
VISIBLE: Final = re.compile(r"[!-\[\]^-~]+")  # printable ASCII without the backslash, which some read as a slash
STEP_SECONDS: Final = 5.0  # to connect, and for each answer of the network
DEADLINE_SECONDS: Final = 15.0  # for all of it: who answers byte by byte holds no worker up
GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
# 6to4 and Teredo: an IPv4 address, maybe one inside, in the clothes of a global one (RFC 3056, RFC 4380).
CLOTHED: Final = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))


class UnreachableError(Exception):
    """Nothing answered in HTTP, or nothing that may be reached; `code` says why, without the URL."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a setting: separated by commas. Raises ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def check_url(url: str, also: Sequence[Network] = ()) -> None:
    """Raises ValueError, with a text that can be shown, for a URL that `post` would never send anything to.

    `also` are networks that may be reached beside public addresses, without TLS too. Names are not resolved here.
    """
    if len(url) > LONGEST or VISIBLE.fullmatch(url) is None:
        raise ValueError(f"must be a URL of up to {LONGEST} printable ASCII characters")
    parts = _parts(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.port == 0:
        raise ValueError("must begin with https:// and a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must hold no credentials and no fragment")
    if parts.scheme == "http" and not also:
        raise ValueError("must begin with https://")
    address = _literal(parts.hostname)
    if address is not None and not _may_reach(address, parts.scheme, also):
        raise ValueError("must lead to a public address")


def post(
    url: str, body: bytes, headers: dict[str, str], also: Sequence[Network] = (), seconds: float = DEADLINE_SECONDS
) -> int:
    """Post to a URL that `check_url` lets pass; the status of an answer that came in time. Raises UnreachableError."""
    parts = _parts(url)
    port = parts.port or PORTS[parts.scheme]
    try:
        address = _resolved(parts.hostname or "", port, parts.scheme, also)
        with closing(socket.create_connection((address, port), STEP_SECONDS)) as plain:
            return _exchange(plain, parts, body, headers, seconds)
    except ssl.SSLCertVerificationError:
        raise UnreachableError("certificate") from None
    except socket.gaierror:
        raise UnreachableError("unresolved") from None
    except (OSError, ValueError):  # a name that is too long for DNS is a ValueError
        raise UnreachableError("unreachable") from None
    except http.client.HTTPException:
        raise UnreachableError("no_http") from None


def _exchange(plain: socket.socket, parts: SplitResult, body: bytes, headers: dict[str, str], seconds: float) -> int:
    if parts.scheme == "http":
        with _ended_in_time(plain, seconds):
            return _status(plain, parts, body, headers)
    wrap = ssl.create_default_context().wrap_socket
    sealed = wrap(plain, server_hostname=parts.hostname, do_handshake_on_connect=False)
    with closing(sealed), _ended_in_time(sealed, seconds):
        sealed.do_handshake()
        return _status(sealed, parts, body, headers)


def _status(connected: socket.socket, parts: SplitResult, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(parts.hostname or "")
    connection.sock = connected
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("POST", target, body, {"Host": parts.netloc, "Connection": "close", **headers})
    return connection.getresponse().status


@contextmanager
def _ended_in_time(connected: socket.socket, seconds: float) -> Iterator[None]:
    def cut() -> None:
        with suppress(OSError):
            # Not TLS's own, which would take its state away from under whoever reads.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    deadline = Timer(seconds, cut)
    deadline.start()
    try:
        yield
    finally:
        deadline.cancel()
        deadline.join()


def _resolved(host: str, port: int, scheme: str, also: Sequence[Network]) -> str:
    """The first address of a host that may be reached. Raises UnreachableError when none may."""
    for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        found = str(place[0])
        if _may_reach(ip_address(found), scheme, also):
            return found
    raise UnreachableError("not_public")


def _may_reach(address: Address, scheme: str, also: Sequence[Network]) -> bool:
    return any(address in network for network in also) or (scheme == "https" and _is_public(address))


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    return address.is_global and address in GLOBAL_UNICAST and not any(address in network for network in CLOTHED)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _parts(url: str) -> SplitResult:
    """The parts of a URL. Raises ValueError for brackets that do not match and a port that is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("must be a URL") from None
    return parts
