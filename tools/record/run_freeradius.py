"""Run a real FreeRADIUS on loopback, send it accounting with radclient, and keep what it requests."""

import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import sessions

Request = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
DICTIONARIES = "/usr/share/freeradius"
# The gateways by name: documentation addresses (RFC 5737).
GATEWAYS = {"vpn-eu1": "192.0.2.11", "vpn-us1": "192.0.2.21"}


class Sink(ThreadingHTTPServer):
    """The HTTP backend that FreeRADIUS reports to: keeps every request and answers 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SinkHandler)
        self.requests: list[Request] = []


class _SinkHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        section = self.headers["X-FreeRADIUS-Section"]
        self.server.requests.append({"path": self.path, "section": section, "body": json.loads(body)})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: requests are kept, not printed."""


def record(accounts: list[sessions.Account], folder: Path) -> list[Request]:
    """Every request that FreeRADIUS makes for the plan of all sets, as received and in order."""
    secret, port = secrets.token_hex(16), _free_port()
    with _sink() as sink, _radiusd(folder, secret, port, sink.server_port):
        for which in sessions.SETS:
            _send(folder, secret, port, _texts(sessions.packets(accounts, which)))
        return sink.requests


@contextmanager
def _sink() -> Iterator[Sink]:
    sink = Sink()
    thread = threading.Thread(target=sink.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        sink.shutdown()
        sink.server_close()
        thread.join()


@contextmanager
def _radiusd(folder: Path, secret: str, port: int, sink_port: int) -> Iterator[None]:
    """FreeRADIUS in the foreground until it listens; stopped at the end."""
    text = (TEMPLATES / "radiusd.conf").read_text()
    names = {"FOLDER": folder, "SECRET": secret, "PORT": port, "SINK_PORT": sink_port}
    for name, value in names.items():
        text = text.replace(f"@{name}@", str(value))
    config = folder / "radiusd.conf"
    config.touch(mode=0o600)
    config.write_text(text)
    command = ["freeradius", "-f", "-d", str(folder), "-D", DICTIONARIES, "-n", "radiusd"]
    server = subprocess.Popen(command, env={**os.environ, "TZ": "UTC"})
    try:
        _wait_until_ready(folder / "radius.log", server)
        yield
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_ready(log: Path, server: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        text = log.read_text() if log.exists() else ""
        if "Ready to process requests" in text:
            return
        if server.poll() is not None:
            raise RuntimeError(f"freeradius did not start:\n{text}")
        time.sleep(0.1)
    raise RuntimeError("freeradius was not ready within ten seconds")


def _send(folder: Path, secret: str, port: int, texts: list[str]) -> None:
    """Send the packets one after another, each after the answer to the one before."""
    packets = folder / "packets.txt"
    packets.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    key = folder / "secret.txt"
    key.touch(mode=0o600)
    key.write_text(secret)
    options = ["-q", "-p", "1", "-r", "3", "-t", "3", "-D", DICTIONARIES, "-f", str(packets), "-S", str(key)]
    subprocess.run(["radclient", *options, f"127.0.0.1:{port}", "acct"], check=True, timeout=300)


def _texts(packets: list[sessions.Packet]) -> list[str]:
    """Packets as radclient reads them, between the gateways' Accounting-On and Accounting-Off."""
    first, last = min(packet.event for packet in packets) - 60, packets[-1].sent + 60
    on = [_text(_switch(name, "Accounting-On", first)) for name in GATEWAYS]
    off = [_text(_switch(name, "Accounting-Off", last)) for name in GATEWAYS]
    return [*on, *(_text(_attributes(packet)) for packet in packets), *off]


def _switch(gateway: str, status: str, moment: int) -> dict[str, str | int]:
    return {
        "NAS-IP-Address": GATEWAYS[gateway],
        "NAS-Identifier": gateway,
        "Acct-Status-Type": status,
        "Acct-Session-Id": "00000000",
        "Event-Timestamp": moment,
    }


def _attributes(packet: sessions.Packet) -> dict[str, str | int]:
    session = packet.session
    attributes: dict[str, str | int] = {
        "User-Name": session.user,
        "NAS-IP-Address": GATEWAYS[session.gateway],
        "NAS-Identifier": session.gateway,
        "NAS-Port": session.number,
        "NAS-Port-Type": "Virtual",
        "Service-Type": "Framed-User",
        "Framed-Protocol": "PPP",
        "Called-Station-Id": f"{session.gateway}.example.net",
        "Calling-Station-Id": session.endpoint,
        "Acct-Status-Type": packet.status,
        "Acct-Delay-Time": packet.delay,
        "Acct-Session-Id": f"{session.start:08X}-{session.number:08X}",
        "Acct-Authentic": "RADIUS",
        "Event-Timestamp": packet.event,
    }
    if session.with_class:
        attributes["Class"] = "0x" + session.account.encode().hex()
    if packet.status != "Start":
        attributes |= _usage(packet)
    if packet.status == "Stop":
        attributes["Acct-Terminate-Cause"] = session.cause
    return attributes


def _usage(packet: sessions.Packet) -> dict[str, str | int]:
    """Time and counters so far: 32 bits, and how often they wrapped (RFC 2869 section 5.1)."""
    session = packet.session
    usage: dict[str, str | int] = {"Acct-Session-Time": packet.elapsed}
    for direction, octets in (("Input", session.octets_in), ("Output", session.octets_out)):
        so_far = octets * packet.elapsed // session.seconds
        usage[f"Acct-{direction}-Octets"] = so_far & 0xFFFFFFFF
        usage[f"Acct-{direction}-Gigawords"] = so_far >> 32
    return usage


def _text(attributes: dict[str, str | int]) -> str:
    bare = {"Class", "Event-Timestamp"}
    return "\n".join(
        f'{name} = "{value}"' if isinstance(value, str) and name not in bare else f"{name} = {value}"
        for name, value in attributes.items()
    )


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
