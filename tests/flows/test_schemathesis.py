"""The served API against its own description: whatever schemathesis sends, it finds nothing (schemathesis.toml)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import urllib3

from cloudpriv.api.openapi import document
from cloudpriv.app import documented_app
from tests.backend import register
from tests.served import Served, served
from tests.stack import TestDatabase

REPOSITORY = Path(__file__).parents[2]
# So many requests a minute, and so many hashes at once, that no limit stands in the way of a test's haste.
METHODS = {"get", "post", "put", "patch", "delete"}
SETTINGS = {"rate_limit": "1000000/minute", "verify_rate_limit": "1000000/minute", "hash_concurrency": "8"}


def client(name: str, credentials: tuple[str, str]) -> dict[str, Any]:
    """How schemathesis gets tokens of a client (Web Fuzzing Commons, authentication)."""
    form = f"grant_type=client_credentials&client_id={credentials[0]}&client_secret={credentials[1]}"
    token = {
        "extractFrom": "body",
        "extractSelector": "/access_token",
        "sendIn": "header",
        "sendName": "Authorization",
        "sendTemplate": "Bearer {token}",
    }
    login = {"endpoint": "/oauth2/token", "verb": "POST", "payloadRaw": form, "token": token}
    return {"name": name, "loginEndpointAuth": {**login, "contentType": "application/x-www-form-urlencoded"}}


def furnish(api: Served, credentials: tuple[str, str]) -> None:
    """An account as the examples of the document have it, so that they succeed."""
    headers = {"Authorization": f"Bearer {api.token(*credentials)}"}

    def post(path: str, body: dict[str, str], method: str = "POST") -> str:
        answer = urllib3.request(method, api.url + path, json=body, headers=headers)
        assert answer.status < 300, answer.data
        return f"{path}/{answer.json()['id']}" if answer.data else path

    account = post("/v1/accounts", {"account_name": "acme-water"})
    person = post(f"{account}/people", {"username": "kim"})
    post(f"{person}/credentials", {"password": "four words make one"}, "PUT")
    post(f"{account}/devices", {"serial": "1234-0001-24"})


def test_schemathesis_finds_nothing_with_all_its_checks(database: TestDatabase, tmp_path: Path) -> None:
    ours, theirs = register(database), register(database, "intesis")
    clients = [client("talk2m", ours), client("intesis", theirs)]
    (tmp_path / "clients.json").write_text(json.dumps({"auth": clients}))
    environment = os.environ | {"SCHEMATHESIS_WFC": str(tmp_path / "clients.json"), "PYTHONPATH": str(REPOSITORY)}
    with served(database, tmp_path / "log", **SETTINGS) as api:
        furnish(api, ours)
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json", "--no-color"]
        done = subprocess.run(
            command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=280
        )
    assert done.returncode == 0, done.stdout + done.stderr
    documented = [method for item in document(documented_app())["paths"].values() for method in item if method in METHODS]
    operations = len(documented) - 1  # the token endpoint is how it signs in
    assert f"{operations} selected / {operations} total" in done.stdout, done.stdout
