"""The served API against its own description: whatever schemathesis sends, it finds nothing (schemathesis.toml)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import urllib3

from cloudpriv.api.endpoint import Served as Plane
from cloudpriv.api.openapi import document
from cloudpriv.app import documented_app
from cloudpriv.bootstrap import ProcessorServices
from tests.backend import register
from tests.logdata import device_token, make_log_account, reader_token
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


def customer(name: str, token: str) -> dict[str, Any]:
    """How schemathesis shows a token that it has already."""
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}


def furnish_log_data(url: str, sender: str, tag: str) -> None:
    """A point of a tag of a device, as the examples of the document name them."""
    body = [{"tag": tag, "time": "2026-01-31T12:00:00Z", "value": 21.5}]
    answer = urllib3.request("POST", f"{url}/v1/logdata/points", json=body, headers={"Authorization": f"Bearer {sender}"})
    assert answer.status == 200, answer.data


def run(api: Served, auth: list[dict[str, Any]], folder: Path, *options: str) -> str:
    """All of schemathesis at an API, with these two callers; what it prints when it found nothing."""
    (folder / "clients.json").write_text(json.dumps({"auth": auth}))
    environment = os.environ | {"SCHEMATHESIS_WFC": str(folder / "clients.json"), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json", "--no-color", *options]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tried(plane: Plane) -> int:
    """How many operations of a plane there are to try: schemathesis leaves the address of the description itself out."""
    paths = document(documented_app(plane))["paths"].values()
    return sum(method in METHODS for item in paths for method in item) - 1


def test_schemathesis_finds_nothing_with_all_its_checks(database: TestDatabase, tmp_path: Path) -> None:
    ours, theirs = register(database), register(database, "intesis")
    clients = [client("talk2m", ours), client("intesis", theirs)]
    with served(database, tmp_path / "log", **SETTINGS) as api:
        furnish(api, ours)
        printed = run(api, clients, tmp_path)
    number = tried("controller")
    assert f"{number} selected / {number} total" in printed, printed


def test_schemathesis_finds_nothing_in_log_data_either(
    database: TestDatabase, processor: ProcessorServices, tmp_path: Path
) -> None:
    """As readers of two accounts; what others alone may do is refused to them, and tried by itself in tests/api."""
    now = processor.clock()
    accounts = {name: make_log_account(processor, now) for name in ("talk2m", "intesis")}
    readers = [customer(name, reader_token(processor, of, now)) for name, of in accounts.items()]
    senders = {
        tag: device_token(processor, accounts["talk2m"], device, now)
        for device, tag in (("pump-1", "temperature"), ("pump-3", "level"))
    }
    with served(database, tmp_path / "log", "processor", rate_limit="1000000/minute") as api:
        for tag, sender in senders.items():
            furnish_log_data(api.url, sender, tag)
        printed = run(api, readers, tmp_path)
    number = tried("processor")
    assert f"{number} selected / {number} total" in printed, printed
