"""A backend in tests: speaks HTTP to an app, signed in as a registered client."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cloudpriv.controller import clients
from cloudpriv.platform.actor import OPERATOR, Service
from tests.stack import TestDatabase

Call = Callable[..., TestResponse]


def register(database: TestDatabase, service: Service = "talk2m", *scopes: str) -> tuple[str, str]:
    """A client's id and secret; all scopes when none is named."""
    services = database.services("migration")
    with services.controller.transaction(OPERATOR, services.clock()) as tx:
        client, secret = clients.register_client(tx, "backend", service, scopes or sorted(clients.SCOPES))
        found = str(client.client_id), secret
    services.controller.engine.dispose()
    return found


class Backend:
    """A registered client with a token, on Flask's test client."""

    def __init__(self, app: Flask, database: TestDatabase, service: Service = "talk2m", *scopes: str) -> None:
        self.http: FlaskClient = app.test_client()
        self.client_id, self.secret = register(database, service, *scopes)
        answer = self.http.post(
            "/oauth2/token", data={"grant_type": "client_credentials"}, auth=(self.client_id, self.secret)
        )
        assert answer.status_code == 200, answer.text
        self.token = answer.get_json()["access_token"]

    def send(self, method: str, path: str, body: Any = None, *, etag: str | None = None, **options: Any) -> TestResponse:
        """One request with the token; `body` goes as JSON."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        if etag is not None:
            headers["If-Match"] = etag
        return self.http.open(path, method=method, json=body, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        """GET with the token."""
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        """POST JSON with the token."""
        return self.send("POST", path, body, **options)

    def open_account(self, account_name: str = "acme-water", **members: Any) -> str:
        """A new account's id."""
        customer = {"company_name": "Acme Water Ltd", "company_id": "SE556000-0001"}
        answer = self.post("/v1/accounts", {"account_name": account_name, "customer": customer, **members})
        assert answer.status_code == 201, answer.text
        found: str = answer.get_json()["id"]
        return found
