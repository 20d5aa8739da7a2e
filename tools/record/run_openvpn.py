"""Run a real OpenVPN server with real clients in network namespaces, and keep what its scripts are told.

The lines between them carry documentation addresses (RFC 5737, RFC 3849), so the recording holds no other.
"""

import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from subprocess import Popen, TimeoutExpired, run

import network
import pki
from sessions import Account

Event = dict[str, str]
Process = Popen[bytes]

HERE = Path(__file__).parent
TUNNEL, TRAFFIC_PORT = "10.8.0.1", "9000"
ROUNDS = 10
READY = "Initialization Sequence Completed"
# What an integration reads; the rest of the environment describes the machine, certificates and ciphers.
KEPT = [
    "script_type", "common_name", "username", "UV_SERIAL", "trusted_ip", "trusted_ip6", "trusted_port",
    "proto_1", "ifconfig_pool_remote_ip", "time_unix", "time_duration", "bytes_received", "bytes_sent",
]  # fmt: skip


@dataclass(frozen=True)
class Client:
    """A device: its certificate's name, its serial number, who logs in on it, and its address on the line."""

    name: str
    serial: str
    login: str
    address: str


@dataclass(frozen=True)
class Recording:
    """The events in order, and the status by version."""

    events: list[Event]
    status: dict[int, str]


def record(accounts: list[Account], folder: Path) -> Recording:
    """Some rounds of sessions; in the last all are on, then one vanishes and one outlives the server."""
    clients = _clients(accounts)
    random = Random("cloudpriv openvpn")  # noqa: S311 (sizes to repeat, nothing secret)
    (folder / "events").mkdir()
    pki.make(folder, [client.name for client in clients])
    with network.star({client.name: client.address for client in clients}), ExitStack() as stack:
        server = stack.enter_context(_server(folder))
        stack.enter_context(_traffic_server())
        for _ in range(ROUNDS - 1):
            with _online(folder, random.sample(clients, k=len(clients) - 1), random):
                time.sleep(random.uniform(0, 3))
        with _online(folder, clients, random) as processes:
            status = _status(folder, len(clients))
            processes[0].kill()
            _wait_for(folder / "server.log", "Inactivity timeout")
            for process in processes[1:-1]:
                process.terminate()
            _until(lambda: _open_sessions(folder) == 1, "the sessions do not end")
            server.kill()
            server.wait()
    return Recording(_events(folder), status)


def _clients(accounts: list[Account]) -> list[Client]:
    """The devices of the accounts recorded by OpenVPN; one in three has IPv6 alone."""
    found = [(account, device) for account in accounts for device in account["device"] if "openvpn" in account["traffic"]]
    return [
        Client(
            name=device["common_name"],
            serial=device["serial"],
            login=f"{account['owner']['username']}@{account['account_name']}",
            address=f"2001:db8:{number}::1" if number % 3 == 0 else f"198.51.100.{10 + number}",
        )
        for number, (account, device) in enumerate(found, start=1)
    ]


@contextmanager
def _server(folder: Path) -> Iterator[Process]:
    hook = f"{sys.executable} {HERE / 'hook.py'} {folder / 'events'}"
    config = _config(folder, "openvpn-server.conf", "server.conf", FOLDER=str(folder), HOOK=hook)
    with _running(network.SERVER, "openvpn", "--config", str(config)) as process:
        _wait_for(folder / "server.log", READY)
        yield process


@contextmanager
def _traffic_server() -> Iterator[None]:
    with _running(network.SERVER, sys.executable, str(HERE / "tunnel_traffic.py"), "serve", TUNNEL, TRAFFIC_PORT):
        yield


@contextmanager
def _online(folder: Path, clients: list[Client], random: Random) -> Iterator[list[Process]]:
    """The clients connected, each after it moved some bytes; ended one after another."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_client(folder, client)) for client in clients]
        for client in clients:
            _wait_for(folder / f"{client.name}.log", READY)
            _move(client, random.randint(500, 60_000), random.randint(500, 900_000))
        yield processes


@contextmanager
def _client(folder: Path, client: Client) -> Iterator[Process]:
    login = folder / f"{client.name}.login"
    # Any password does: the server's hook accepts every login.
    login.write_text(f"{client.login}\nany\n")
    (folder / f"{client.name}.log").unlink(missing_ok=True)
    config = _config(
        folder,
        "openvpn-client.conf",
        f"{client.name}.conf",
        FOLDER=str(folder),
        NAME=client.name,
        SERIAL=client.serial,
        SERVER=network.server_address(client.address),
        PROTO="udp6" if ":" in client.address else "udp4",
    )
    with _running(client.name, "openvpn", "--config", str(config)) as process:
        yield process


def _config(folder: Path, template: str, name: str, **values: str) -> Path:
    text = (HERE / "templates" / template).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    config = folder / name
    config.write_text(text)
    return config


@contextmanager
def _running(where: str, *command: str) -> Iterator[Process]:
    """A process in a namespace; asked to end at the end, and killed when it does not within ten seconds."""
    process = Popen(network.inside(where, *command), env={**os.environ, "TZ": "UTC"})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except TimeoutExpired:
            process.kill()
            process.wait()


def _move(client: Client, up: int, down: int) -> None:
    command = [
        sys.executable,
        str(HERE / "tunnel_traffic.py"),
        "move",
        TUNNEL,
        TRAFFIC_PORT,
        str(up),
        str(down),
    ]
    run(network.inside(client.name, *command), check=True, timeout=60)


def _status(folder: Path, clients: int) -> dict[int, str]:
    """The status file (version 2) once it lists all clients; versions 1 and 3 by the management socket."""
    file = folder / "openvpn-status.log"
    _until(
        lambda: file.read_text().count("\nCLIENT_LIST,") == clients,
        "the status file does not list all clients",
    )
    # One more interval of the file, so that it counts the traffic of all.
    time.sleep(1.5)
    return {1: _ask(folder, 1), 2: file.read_text(), 3: _ask(folder, 3)}


def _ask(folder: Path, version: int) -> str:
    with socket.socket(socket.AF_UNIX) as management:
        management.settimeout(10)
        management.connect(str(folder / "management.sock"))
        with management.makefile("rw", newline="\r\n") as lines:
            lines.readline()
            lines.write(f"status {version}\r\n")
            lines.flush()
            answer = list(iter(lambda: lines.readline().rstrip("\r\n"), "END"))
    return "\n".join([*answer, "END", ""])


def _events(folder: Path) -> list[Event]:
    environments = [json.loads(file.read_text()) for file in sorted((folder / "events").glob("*.json"))]
    return [{name: env[name] for name in KEPT if name in env} for env in environments]


def _open_sessions(folder: Path) -> int:
    kinds = Counter(event["script_type"] for event in _events(folder))
    return kinds["client-connect"] - kinds["client-disconnect"]


def _wait_for(log: Path, text: str) -> None:
    _until(lambda: log.exists() and text in log.read_text(), f"{log.name} does not say {text!r}")


def _until(reached: Callable[[], bool], failure: str) -> None:
    for _ in range(300):
        if reached():
            return
        time.sleep(0.1)
    raise RuntimeError(f"{failure} within thirty seconds")
