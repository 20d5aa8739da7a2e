"""The API served by `cloudpriv serve` in a process of its own, as in production."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import urllib3

from cloudpriv.database import PlaneName
from cloudpriv.serving import await_answer
from tests.ports import free_port
from tests.stack import PREFIXES, TestDatabase


@dataclass(frozen=True)
class Served:
    """A running API: where it listens, and the file that its standard error goes to."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def token(self, client_id: str, secret: str) -> str:
        """An access token of a client."""
        fields = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = urllib3.request("POST", f"{self.url}/oauth2/token", body=urlencode(fields), headers=headers)
        assert answer.status == 200, answer.data
        found: str = answer.json()["access_token"]
        return found


@contextmanager
def served(database: TestDatabase, log: Path, plane: PlaneName = "controller", /, **settings: str) -> Iterator[Served]:
    """A plane's API on a test's database with these settings, up when this begins and ended when it ends."""
    port = free_port()
    command = [sys.executable, "-m", "cloudpriv.cli", "serve", "--plane", plane, "--bind", f"127.0.0.1:{port}"]
    named = {f"{PREFIXES[plane]}{name.upper()}": value for name, value in settings.items()}
    environment = database.environment(plane) | named
    with log.open("wb") as stderr, subprocess.Popen(command, env=environment, stderr=stderr) as server:
        found = Served(port, log)
        assert await_answer(f"127.0.0.1:{port}", server), log.read_text()
        try:
            yield found
        finally:
            server.terminate()
