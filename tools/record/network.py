"""Network namespaces as a star: a server in the middle, every client on its own line to it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

# Documentation addresses (RFC 5737, RFC 3849).
SERVER_V4, SERVER_V6 = "192.0.2.31", "2001:db8::31"
SERVER = "server"


@contextmanager
def star(clients: dict[str, str]) -> Iterator[None]:
    """Namespaces for the server and for each client (name -> IPv4 or IPv6 address), removed at the end."""
    names = [SERVER, *clients]
    try:
        for name in names:
            _ip("netns", "add", _namespace(name))
            _ip("-n", _namespace(name), "link", "set", "lo", "up")
        for number, (name, address) in enumerate(clients.items()):
            _connect(name, f"line{number}", address)
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", _namespace(name)], check=False)


def inside(name: str, *command: str) -> list[str]:
    """The command that runs `command` in the namespace of the server or of a client."""
    return ["ip", "netns", "exec", _namespace(name), *command]


def server_address(client_address: str) -> str:
    """The server's address in the family of the client's."""
    return SERVER_V6 if ":" in client_address else SERVER_V4


def _connect(name: str, line: str, address: str) -> None:
    server, client = _namespace(SERVER), _namespace(name)
    _ip("link", "add", line, "netns", server, "type", "veth", "peer", "name", "uplink", "netns", client)
    for space, link, own, other in (
        (server, line, server_address(address), address),
        (client, "uplink", address, server_address(address)),
    ):
        _ip("-n", space, "link", "set", link, "up")
        # No duplicate detection: it would keep an IPv6 address unusable for a second.
        _ip("-n", space, "address", "add", own, "dev", link, *(["nodad"] if ":" in own else []))
        _ip("-n", space, "route", "add", other, "dev", link)


def _namespace(name: str) -> str:
    return f"recorder-{name}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
