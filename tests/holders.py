"""Account holders in tests: people with a password who use the portal on Flask's test client."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials, people
from tests.factories import NOW, make_account, transaction

PASSWORD = "four words make one"
TOKEN = re.compile('name="csrf_token" value="([^"]+)"')


@dataclass
class Time:
    """What the time is taken to be."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def pass_by(self, **parts: float) -> None:
        """Let it pass."""
        self.now += timedelta(**parts)


@dataclass
class Holder:
    """A person, and a browser of theirs."""

    app: Flask
    account_id: UUID
    person_id: UUID
    names: dict[str, str]
    password: str = PASSWORD
    base_url: str = "http://localhost"
    http: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = self.app.test_client()

    def elsewhere(self, base_url: str = "http://localhost") -> "Holder":
        """The same person in another browser."""
        return Holder(self.app, self.account_id, self.person_id, self.names, self.password, base_url)

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        return self.http.get(path, base_url=self.base_url, **options)

    def token(self, page: str) -> str:
        """The token of the forms on a page."""
        answer = self.get(page)
        found = TOKEN.search(answer.text)
        assert found is not None, f"{page}: {answer.status} {answer.location}"
        return unescape(found[1])

    def post(self, path: str, page: str | None = None, /, **form: Any) -> TestResponse:
        """Send a form, as it is on `page` or else on `path`; with a `csrf_token` of the caller's if one is given."""
        options = form.pop("options", {})
        if "csrf_token" not in form:
            form["csrf_token"] = self.token(page or path)
        given = {name: value for name, value in form.items() if value is not None}
        return self.http.post(path, base_url=self.base_url, data=given, **options)

    def choose_language(self, language: str, back: str = "/portal/", **options: Any) -> TestResponse:
        """Choose a language at the foot of a page."""
        given = {"to": language, "next": back}
        return self.http.post("/portal/language", base_url=self.base_url, data=given, **options)

    def attempt(self, **changes: Any) -> TestResponse:
        """Try to sign in, with other values where they are given."""
        return self.post("/portal/sign-in", **{**self.names, "password": self.password, **changes})

    def sign_in(self) -> "Holder":
        """The same, signed in."""
        answer = self.attempt()
        assert answer.status_code == 303, answer.text
        return self


def make_holder(app: Flask, services: Services, account_id: UUID | None = None, *, role: str = "owner",
                username: str = "kim", password: str = PASSWORD, **identity: Any) -> Holder:  # fmt: skip
    """A person with a password in an account, or in a new one."""
    found = account_id or make_account(services).row.account_id
    document = {"username": username, "name": "Kim Example", "email": f"{username}@example.com", **identity}
    password_hash = app.extensions[EXTENSION].passwords.hash(password)
    with transaction(services) as tx:
        person_id = people.add_person(tx, found, role, document).row.person_id
        credentials.set_credentials(tx, found, person_id, password_hash, None)
        account = accounts.find_account(tx, found)
    names = {"service": account.row.service, "account_name": account.profile["account_name"], "username": username}
    return Holder(app, found, person_id, names, password)
