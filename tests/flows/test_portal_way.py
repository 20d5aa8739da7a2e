"""The whole way of an owner through the portal, by HTTP with a plain client against `cloudpriv serve` and a real worker.

Sign in, start an export, give the password again, fetch the archive by its short link, check it, close the account, undo.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from typing import cast
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest
from sqlalchemy import Engine, text

from cloudpriv.audit import notes
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials, people
from cloudpriv.platform.passwords import Passwords
from tests.factories import make_account, transaction
from tests.holders import PASSWORD, TOKEN
from tests.patience import PATIENCE
from tests.served import served
from tests.stack import TestDatabase

WORKER = "from cloudpriv import config; from workers import main; main.run(config.load('worker'), burst=True)"
CHUNK = 64 * 1024


@dataclass
class Browser:
    """A client that keeps cookies and follows redirects, and knows nothing else of the portal."""

    base: str
    path: str = ""  # of the page it is on
    page: str = ""
    opener: OpenerDirector = field(default_factory=lambda: build_opener(HTTPCookieProcessor(CookieJar())))

    def get(self, path: str) -> str:
        """Open a page."""
        return self._read(self._open(path))

    def send(self, path: str, **form: str) -> str:
        """Send a form of the page that is open."""
        return self._read(self._open(path, form))

    def download(self, path: str, target: Path) -> HTTPResponse:
        """Send a form whose answer is a file."""
        with self._open(path, {}) as answer, target.open("wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
        return answer

    def _open(self, path: str, form: dict[str, str] | None = None) -> HTTPResponse:
        content = None
        if form is not None:
            found = TOKEN.search(self.page)
            assert found is not None, self.path
            content = urlencode({**form, "csrf_token": unescape(found[1])}).encode()
        asked = Request(self.base + path, content)  # noqa: S310  of our own server
        return cast(HTTPResponse, self.opener.open(asked, timeout=PATIENCE))

    def _read(self, answer: HTTPResponse) -> str:
        with answer:
            self.path, self.page = urlsplit(answer.url).path, answer.read().decode()
        return self.page


@pytest.fixture
def names(services: Services) -> dict[str, str]:
    """What kim signs in with."""
    account_id = make_account(services).row.account_id
    cheap = Passwords(time_cost=1, memory_kib=8, parallelism=1, concurrency=1)
    hashed = cheap.hash(PASSWORD)
    with transaction(services, now=services.clock()) as tx:
        identity = {"username": "kim", "name": "Kim Example", "email": "kim@example.com"}
        person_id = people.add_person(tx, account_id, "owner", identity).row.person_id
        credentials.set_credentials(tx, account_id, person_id, hashed, None)
        account = accounts.find_account(tx, account_id)
    return {"service": "talk2m", "account_name": account.profile["account_name"], "username": "kim"}


@pytest.fixture
def browser(database: TestDatabase, tmp_path: Path) -> Iterator[Browser]:
    """A browser in front of a served portal."""
    with served(database, tmp_path / "serve.log") as found:
        yield Browser(found.url)


def work(database: TestDatabase) -> None:
    """Have a worker do what there is to do."""
    subprocess.run(
        [sys.executable, "-c", WORKER], env=database.environment(), check=True, timeout=PATIENCE, capture_output=True
    )


def forget_the_password(owner_engine: Engine) -> None:
    """As if the password had been given ten minutes ago."""
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE holder_sessions SET password_at = password_at - interval '10 minutes'"))


def status(owner_engine: Engine) -> str:
    with owner_engine.connect() as connection:
        found: str = connection.scalar(text("SELECT status FROM accounts"))
    return found


def test_an_owner_goes_the_whole_way(
    browser: Browser, names: dict[str, str], services: Services, worker_services: Services, database: TestDatabase,
    owner_engine: Engine, tmp_path: Path,
) -> None:  # fmt: skip
    browser.get("/portal/")
    assert browser.path == "/portal/sign-in"
    browser.send("/portal/sign-in", **names, password=PASSWORD)
    assert "Welcome, Kim Example" in browser.page

    browser.get("/portal/exports/new")
    browser.send("/portal/exports/new", about="account", language="sv")
    export = browser.path
    assert "Your export is being made" in browser.page
    work(database)
    assert "Your export is ready" in browser.get(export)

    forget_the_password(owner_engine)
    browser.send(export)
    assert browser.path == "/portal/password"
    browser.send("/portal/password", password=PASSWORD, next=export)
    assert browser.path == export
    archive = tmp_path / "archive.zip"
    answer = browser.download(export, archive)
    assert urlsplit(answer.url).path.startswith("/portal/download/")
    assert answer.headers["Content-Type"] == "application/zip"
    assert int(answer.headers["Content-Length"]) == archive.stat().st_size
    assert f"{export.rpartition('/')[2]}.zip" in answer.headers["Content-Disposition"]
    assert checked(archive, worker_services, database) == 0
    archive.write_bytes(archive.read_bytes()[:-1])
    assert checked(archive, worker_services, database) != 0

    browser.get("/portal/closing/confirm")
    browser.send("/portal/closing/confirm", account_name=names["account_name"])
    assert "This account is being closed" in browser.page
    assert status(owner_engine) == "closing"
    assert re.search('action="/portal/closing/undo"', browser.get("/portal/"))
    browser.send("/portal/closing/undo")
    assert "The closing is undone" in browser.page
    assert status(owner_engine) == "active"


def checked(archive: Path, worker_services: Services, database: TestDatabase) -> int:
    """What `cloudpriv export verify` ends with."""
    vkey = notes.verifier_key("example.com/log", worker_services.require_proof_key()).text
    command = [sys.executable, "-m", "cloudpriv.cli", "export", "verify", str(archive), "--key", vkey]
    return subprocess.run(command, check=False, env=database.environment(), timeout=PATIENCE, capture_output=True).returncode
