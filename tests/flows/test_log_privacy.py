"""No personal data and no secret in a log or the queue, and none to be read in the database: marks, looked for."""

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import urllib3
from sqlalchemy import Engine, text

from tests.backend import register
from tests.patience import PATIENCE
from tests.served import Served, served
from tests.stack import TestDatabase, every_row

MARK = "qzxwvk"  # begins everything that is looked for; in nothing else
NDJSON = "application/x-ndjson"
FORM = "application/x-www-form-urlencoded"
PERSON = {
    "username": f"{MARK}-username",
    "name": f"{MARK} Name",
    "address": f"{MARK} Street 1\n12345 Town",
    "phones": [f"+46 {MARK} 1"],
    "email": f"{MARK}-mail@example.com",
    "company_name": f"{MARK} Company",
    "company_id": f"{MARK}-company-id",
}
ACCOUNT = {"account_name": f"{MARK}-account", "customer": {"company_name": f"{MARK} AB", "company_id": f"{MARK}-id"}}
DEVICE = {"serial": f"{MARK}-serial", "common_name": f"{MARK}-common", "name": f"{MARK} pump", "model": f"{MARK} model"}
CREDENTIALS = {"password": f"{MARK}-password-1", "hint": f"a {MARK} hint of no use"}
RECORD = {
    "account": f"{MARK}-account",
    "device": f"{MARK}-serial",
    "username": f"{MARK}-username",
    "source": f"{MARK}-source",
    "session": f"{MARK}-session",
    "started_at": "2026-01-01T00:00:00Z",
    "ended_at": "2026-01-01T00:01:00Z",
    "bytes_from_device": 1,
    "bytes_to_device": 2,
    "remote_address": "203.0.113.77",
}


class Caller:
    """Sends marked requests to a served API."""

    def __init__(self, api: Served, database: TestDatabase) -> None:
        self.api = api
        self.client = register(database)
        self.token = api.token(*self.client)
        self.http = urllib3.PoolManager(retries=False)

    def send(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json", **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """One request, with the token unless another Authorization is given; a body that is no bytes goes as JSON."""
        sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, **given}
        return self.http.request(method, self.api.url + path, body=sent, headers=fields)


@pytest.fixture
def caller(database: TestDatabase, tmp_path: Path) -> Iterator[Caller]:
    """A backend of an API that logs all that it can."""
    with served(database, tmp_path / "api.log", log_level="DEBUG") as api:
        found = Caller(api, database)
        yield found
        found.http.clear()


def made(caller: Caller, path: str, body: object, **headers: str) -> str:
    """The path of a new resource."""
    return f"{path}/{caller.send('POST', path, body, **headers).json()['id']}"


def live(caller: Caller) -> str:
    """An ordinary life with marks in every field: an account, people, devices, passwords, traffic."""
    account = made(caller, "/v1/accounts", ACCOUNT, Idempotency_Key=f'"{MARK}"')
    person, device = made(caller, f"{account}/people", PERSON), made(caller, f"{account}/devices", DEVICE)
    login = {"account_name": ACCOUNT["account_name"], "username": PERSON["username"]}
    answers = [
        caller.send("PATCH", account, {"account_name": f"{MARK}-account"}, If_Match='"1"'),
        caller.send("PATCH", person, {"name": f"{MARK} Other"}, If_Match='"1"'),
        caller.send("PATCH", device, {"name": f"{MARK} other"}, If_Match='"1"'),
        caller.send("PUT", f"{person}/credentials", CREDENTIALS),
        caller.send("POST", "/v1/credentials/verify", {**login, "password": CREDENTIALS["password"]}),
        caller.send("POST", "/v1/credentials/hint", login),
        caller.send("POST", "/v1/accounts/lookup", {"account_name": ACCOUNT["account_name"]}),
        caller.send("POST", "/v1/traffic", [RECORD]),
        caller.send("POST", "/v1/traffic", json.dumps(RECORD).encode(), content_type=NDJSON),
        caller.send("POST", f"{account}/requests", {"type": "access"}),
        *(caller.send("GET", path) for path in (account, person, device, f"{account}/people", f"{account}/traffic")),
    ]
    assert [answer.status for answer in answers if answer.status >= 300] == []
    return account


def misuse(caller: Caller, account: str) -> list[urllib3.BaseHTTPResponse]:
    """Marks where they do not belong."""
    login = {"account_name": f"{MARK}-account", "username": f"{MARK}-nobody", "password": f"{MARK}-wrong"}
    form = f"grant_type=client_credentials&client_id={MARK}-client&client_secret={MARK}-secret"
    basic = base64.b64encode(f"{MARK}-client:{MARK}-secret".encode()).decode()
    return [
        caller.send("POST", "/v1/accounts", ACCOUNT),
        caller.send("POST", "/v1/accounts", {**ACCOUNT, MARK: MARK}),
        caller.send("POST", "/v1/accounts", {"account_name": 7, "customer": {"company_name": [f"{MARK}"]}}),
        caller.send("POST", "/v1/accounts", f'{{"account_name": "{MARK}'.encode()),
        caller.send("POST", "/v1/accounts", f'{{"{MARK}": 1, "{MARK}": 2}}'.encode()),
        caller.send("POST", "/v1/accounts", f'{{"account_name": "{MARK}\\ud800"}}'.encode()),
        caller.send("POST", "/v1/accounts", MARK.encode() * 200_000),
        caller.send("POST", "/v1/accounts", gzip.compress(MARK.encode()), Content_Encoding=MARK),
        caller.send("POST", "/v1/accounts", MARK.encode(), content_type=f"text/{MARK}"),
        caller.send("POST", "/v1/traffic", [{**RECORD, "started_at": MARK}, MARK, {MARK: MARK}]),
        caller.send("POST", "/v1/traffic", f"{MARK}\n{{{MARK}".encode(), content_type=NDJSON),
        caller.send("POST", f"{account}/people", {**PERSON, "email": MARK}),
        caller.send("POST", "/v1/credentials/verify", login),
        caller.send("GET", f"/v1/accounts?cursor={MARK}&{MARK}={MARK}"),
        caller.send("GET", f"/v1/accounts?cursor=%ff{MARK}"),
        caller.send("GET", f"/v1/accounts/{MARK}?email={quote(str(PERSON['email']))}"),
        caller.send("GET", f"/{MARK}/{MARK}"),
        caller.send("GET", "/" + MARK * 1500),
        caller.send(MARK, "/v1/accounts"),
        caller.send("GET", "/v1/accounts", Authorization=f"Bearer {MARK}"),
        caller.send(
            "GET", "/v1/policy", Accept_Language=MARK, User_Agent=MARK, Referer=MARK, Cookie=MARK, X_Request_Id=MARK
        ),
        caller.send("PATCH", account, {}, If_Match=f'"{MARK}"'),
        caller.send("POST", "/v1/accounts", ACCOUNT, Idempotency_Key=MARK),
        caller.send("POST", "/oauth2/token", form.encode(), content_type=FORM, Authorization=""),
        caller.send("POST", f"/oauth2/token?{form}", b"", content_type=FORM, Authorization=f"Basic {basic}"),
        caller.send("GET", f"/docs?{MARK}", **{f"{MARK}(bad)": MARK}),
        caller.send("GET", "/docs", **{f"{MARK}1": MARK * 2000}),
    ]


def fail(caller: Caller, owner: Engine, account: str) -> list[urllib3.BaseHTTPResponse]:
    """Faults of ours while marked data is at hand: tables that are not there, and one that takes no value."""
    broken = (
        "ALTER TABLE people RENAME TO people_gone",
        "ALTER TABLE devices ADD CONSTRAINT nothing_fits CHECK (device_id IS NULL) NOT VALID",
        "ALTER TABLE traffic ADD CONSTRAINT nothing_fits CHECK (bytes_to_device < 0) NOT VALID",
    )
    with owner.begin() as connection:
        for statement in broken:
            connection.execute(text(statement))
    login = {"account_name": ACCOUNT["account_name"], "username": PERSON["username"], "password": CREDENTIALS["password"]}
    return [
        caller.send("POST", f"{account}/people", {**PERSON, "username": f"{MARK}-2"}),
        caller.send("POST", f"{account}/devices", {**DEVICE, "serial": f"{MARK}-2", "common_name": None, "kind": MARK}),
        caller.send("POST", "/v1/credentials/verify", login),
        caller.send("POST", "/v1/traffic", [{**RECORD, "session": f"{MARK}-2", "username": None}]),
    ]


def marks(caller: Caller) -> list[bytes]:
    """What is looked for: the mark, also in hexadecimal and Base64 (where it begins a text); address, secret, token."""
    shapes = [MARK.encode(), MARK.upper().encode(), MARK.encode().hex().encode(), base64.b64encode(MARK.encode())]
    return [*shapes, b"203.0.113.77", caller.client[1].encode(), caller.token.rpartition(".")[2].encode()]


def test_no_log_and_no_queue_holds_what_was_sent(caller: Caller, database: TestDatabase, owner_engine: Engine) -> None:
    account = live(caller)
    refused = misuse(caller, account)
    assert all(answer.status < 500 for answer in refused)
    failed = fail(caller, owner_engine, account)
    assert {answer.status for answer in failed} == {500}
    assert [answer.data for answer in failed if MARK.encode() in answer.data] == []
    logs = {path: path.read_bytes() for path in [caller.api.log, *database.stack.folder.rglob("*.log")]}
    with redis.Redis.from_url(database.stack.environment["CLOUDPRIV_REDIS_URL"]) as queue:
        logs[Path("queue")] = b"\n".join(key + (queue.dump(key) or b"") for key in queue.scan_iter())
    assert b'"event":"unexpected"' in logs[caller.api.log], "faults are logged"
    assert b'"event":"unreadable_request"' in logs[caller.api.log], "what is no HTTP is logged"
    assert logs[caller.api.log].count(b'"event":"request"') > 40
    for path, content in logs.items():
        assert [mark for mark in marks(caller) if mark in content] == [], path


def test_the_database_holds_no_identity_that_can_be_read(caller: Caller, owner_engine: Engine) -> None:
    live(caller)
    for table, rows in every_row(owner_engine).items():
        assert not any(mark in row.lower() for row in rows for mark in (MARK, MARK.encode().hex())), table
        assert not any(caller.client[1] in row for row in rows), table


def test_a_worker_that_fails_leaves_no_data_in_its_log_and_in_the_queue(
    caller: Caller, database: TestDatabase, owner_engine: Engine
) -> None:
    live(caller)
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE devices RENAME COLUMN identity TO gone"))
    command = [sys.executable, "-m", "cloudpriv.cli", "worker", "--burst"]
    environment = database.environment("controller") | {"CLOUDPRIV_LOG_LEVEL": "DEBUG"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=PATIENCE)
    assert b"UndefinedColumn" in done.stderr or b"ProgrammingError" in done.stderr, "the fault is logged"
    with redis.Redis.from_url(database.stack.environment["CLOUDPRIV_REDIS_URL"]) as queue:
        left = b"\n".join(key + (queue.dump(key) or b"") for key in queue.scan_iter())
    assert [mark for mark in marks(caller) if mark in done.stdout + done.stderr + left] == []
