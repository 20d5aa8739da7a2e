"""What the demo runs on: the embedded stack, its database brought up to date, and API, worker and schedule on it."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Final

import urllib3

from cloudpriv import database
from cloudpriv.bootstrap import Services, build
from cloudpriv.client.api import RETRIES, ApiClient
from cloudpriv.config import PREFIX, load
from cloudpriv.controller import clients
from cloudpriv.embedded.joining import JoinedStack, joined
from cloudpriv.platform.actor import OPERATOR, Service
from cloudpriv.serving import SIDE_BY_SIDE, side_by_side

READY_SECONDS: Final = 60.0  # a slow machine needs some ten for the imports of three processes
CLOSE: Final = {"Connection": "close"}  # a server that stops waits for connections that are kept
TRIES: Final = 3  # of a request: the server is ours, and one that ended is not coming back


@contextmanager
def stack(folder: Path) -> Iterator[tuple[JoinedStack, Services, str]]:
    """The servers of `folder`, services of the schema's owner, and the revision of its database. Raises StackError."""
    with joined(folder) as servers, only(servers.environment):
        owner = build(load("migration"))
        try:
            yield servers, owner, database.upgrade_named()
        finally:
            owner.controller.engine.dispose()
            owner.redis.close()


@contextmanager
def processes() -> Iterator[str]:
    """API, worker and schedule, on a free port of loopback, ready to answer; the API's address."""
    address = _free_address()
    url = f"http://{address}"
    # Requests are not logged: the steps tell what happens.
    settings = {"CLOUDPRIV_BIND": address, "CLOUDPRIV_ISSUER": url, "CLOUDPRIV_LOG_LEVEL": "WARNING"}
    with side_by_side([("controller", command) for command in SIDE_BY_SIDE], settings) as children:
        _await_ready(url, children["controller", "serve"])
        yield url


def register_backend(owner: Services, service: Service) -> tuple[str, str]:
    """A new client of a service with every scope, as an operator registers it: its id and its secret."""
    with owner.controller.transaction(OPERATOR, owner.clock()) as tx:
        client, secret = clients.register_client(tx, f"demo backend of {service}", service, sorted(clients.SCOPES))
        return str(client.client_id), secret


def connect(url: str, credentials: tuple[str, str]) -> ApiClient:
    """The HTTP client of a registered backend."""
    return ApiClient(url, *credentials, retries=RETRIES.new(total=TRIES))


@contextmanager
def only(variables: Mapping[str, str]) -> Iterator[None]:
    """These settings and no others of ours in the environment: the demo must never reach another installation."""
    before = _settings()
    _replace(before, variables)
    try:
        yield
    finally:
        _replace(_settings(), before)


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}


def _replace(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    for name in old:
        del os.environ[name]
    os.environ.update(new)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _await_ready(url: str, server: "Popen[bytes]") -> None:
    ends = time.monotonic() + READY_SECONDS
    while not _is_ready(url):
        if server.poll() is not None:
            raise RuntimeError("the API ended while it started; its messages are above")
        if time.monotonic() > ends:
            raise TimeoutError(f"the API was not ready within {READY_SECONDS:.0f} s")
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/readyz", headers=CLOSE, timeout=2, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
