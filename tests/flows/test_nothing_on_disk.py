"""After an erasure every file that the stopped servers leave is searched for what the account had told them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import redis
import urllib3
from sqlalchemy import Engine, text

from cloudpriv import database as schema
from cloudpriv.embedded import postgres
from cloudpriv.embedded.folder import make_private_folder, remove_private_folder
from cloudpriv.embedded.identity import choose
from cloudpriv.embedded.stack import Stack, running
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import classification_of, erased_tables
from tests.backend import register
from tests.bounces import report
from tests.flows.embedded_data import s3_client
from tests.flows.test_worker import wait_until
from tests.mailbox import SENDER, Mailbox, mail_server
from tests.patience import PATIENCE
from tests.rawsearch import holding, traces
from tests.served import Served, served
from tests.stack import TestDatabase, every_row

WORD, NUMBER = "qzxwvkjyqhgw", "735194062817"  # one of them is in everything that says who somebody is
ADDRESS = "203.0.113.77"  # as text: PostgreSQL keeps it as four bytes
CLEAR = "vjhxqkzwypfb"  # in the few texts that are not sealed, which are to name nobody
ACCOUNT = {
    "account_name": f"{WORD}-account",
    "customer": {"company_name": f"{WORD} Vatten AB", "company_id": f"SE{NUMBER}"},
}
OWNER = {
    "username": f"{WORD}-user",
    "name": f"Åsa {WORD}",
    "address": f"{WORD} väg 1\n123 45 Halmstad",
    "phones": [f"+46{NUMBER}"],
    "email": f"{WORD}@example.com",
    "company_name": f"{WORD} Vatten AB",
    "company_id": f"SE{NUMBER}",
}
CREDENTIALS = {"password": f"so-{NUMBER}-long", "hint": f"of the dog {WORD}"}
DEVICE = {
    "serial": f"{NUMBER}-24",
    "common_name": f"{WORD}-cosy",
    "name": f"{WORD} pump",
    "model": f"{WORD} 131",
    "kind": CLEAR,
}
RECORD = {
    "account": ACCOUNT["account_name"],
    "device": DEVICE["serial"],
    "username": OWNER["username"],
    "source": f"{WORD}-source",
    "session": f"{WORD}-{NUMBER}",
    "started_at": "2026-01-01T00:00:00Z",
    "ended_at": "2026-01-01T00:01:00Z",
    "bytes_from_device": 1200,
    "bytes_to_device": 340,
    "protocol": "udp",
    "remote_address": ADDRESS,
    "end_reason": f"{CLEAR}-timeout",
}
LOGIN = {"account_name": ACCOUNT["account_name"], "username": OWNER["username"]}
FULL = f"452 4.2.2 <{WORD}@example.com> is over quota"
# In single-user mode, whose user may do anything, and with its own process alone.
AS_SUPERUSER = "VACUUM FULL\nCHECKPOINT\nSELECT pg_switch_wal()\nCHECKPOINT\n"
EXPORTS, LOG = "stack/rclone/data/cloudpriv-exports/exports", "stack/postgresql/data/pg_wal"
numbers = count(1)


@dataclass(frozen=True)
class House:
    """An installation of its own: servers, API, worker and schedule, with all that they log."""

    stack: Stack
    database: TestDatabase
    owner: Engine
    log_data: Engine
    api: Served
    mailbox: Mailbox
    headers: dict[str, str]
    processes: list[subprocess.Popen[bytes]]
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def send(self, method: str, path: str, body: object = None, *, like: int | None = None, **headers: str) -> Any:
        """One request, whose answer is a success unless it is to be `like` another status."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {**self.headers, "Content-Type": "application/json", **given}
        sent = None if body is None else json.dumps(body).encode()
        answer = self.http.request(method, self.api.url + path, body=sent, headers=fields)
        assert answer.status == like if like else answer.status < 300, (method, path, answer.status)
        return answer

    def make(self, path: str, body: object) -> str:
        """The path of a new resource, made with an Idempotency-Key of its own."""
        answer = self.send("POST", path, body, Idempotency_Key=f'"{WORD}-{next(numbers)}"')
        return f"{path}/{answer.json()['id']}"

    def await_that(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        wait_until(condition, *self.processes)

    def scalar(self, statement: str) -> Any:
        """One value of the database."""
        with self.owner.connect() as connection:
            return connection.scalar(text(statement))


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """Everything of the controller plane runs while this lasts, and has ended after it."""
    logs, access_log = folder / "logs", folder / "access_log"
    logs.mkdir()
    access_log.mkdir()
    with ExitStack() as cleanup:
        stack = cleanup.enter_context(running(folder / "stack"))
        database = TestDatabase(stack, postgres.DATABASE)
        owner = database.engine("migration")
        cleanup.callback(owner.dispose)
        schema.upgrade(owner)
        log_data = database.engine("migration", "processor")
        cleanup.callback(log_data.dispose)
        schema.upgrade(log_data, "processor")
        s3_client(stack.environment).create_bucket(Bucket=database.ledger_bucket)
        mailbox = cleanup.enter_context(mail_server())
        settings = {
            "smtp_url": mailbox.url, "mail_from": SENDER, "access_log_dir": str(access_log), "log_level": "DEBUG",
        }  # fmt: skip
        named = {f"CLOUDPRIV_{name.upper()}": value for name, value in settings.items()}
        environment = database.environment("controller") | named
        api = cleanup.enter_context(served(database, logs / "api.log", **settings))
        processes = [
            cleanup.enter_context(logged([command], environment, logs / f"{command}.log"))
            for command in ("worker", "schedule")
        ]
        token = api.token(*register(database))
        made = House(stack, database, owner, log_data, api, mailbox, {"Authorization": f"Bearer {token}"}, processes)
        cleanup.callback(made.http.clear)
        yield made


@contextmanager
def logged(words: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `cloudpriv`, with all that it says in a file."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", "cloudpriv.cli", *words]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


def live(home: House) -> str:
    """The life of an account that tells everything that one can be told; its path."""
    account = home.make("/v1/accounts", ACCOUNT)
    owner, device = home.make(f"{account}/people", OWNER), home.make(f"{account}/devices", DEVICE)
    home.send("PUT", f"{owner}/credentials", CREDENTIALS)
    home.send("PATCH", owner, {"name": f"Åsa {WORD}-Berg"}, If_Match='"1"')
    home.send("PATCH", device, {"name": f"{WORD} motor"}, If_Match='"1"')
    for _ in range(2):
        home.send("POST", "/v1/traffic", [RECORD], Idempotency_Key=f'"{WORD}"')
    home.send("POST", "/v1/credentials/verify", {**LOGIN, "password": CREDENTIALS["password"]})
    home.send("POST", "/v1/credentials/verify", {**LOGIN, "password": f"not {WORD}"}, like=401)
    home.send("POST", "/v1/accounts/lookup", {"account_name": ACCOUNT["account_name"]})
    for path in (account, owner, device, f"{account}/traffic", f"{account}/people", f"/v1/accounts?cursor={WORD}"):
        home.send("GET", path, like=422 if WORD in path else None, Referer=f"http://x/{WORD}")
    _be_refused(home, account)
    _get_mail(home, account)
    _be_held(home, account)
    return account


def _be_refused(home: House, account: str) -> None:
    """What was told where it does not belong, or to no effect."""
    home.send("POST", "/v1/accounts", ACCOUNT, like=409)
    home.send("POST", f"{account}/people", {**OWNER, "email": WORD}, like=422)
    home.send("POST", f"{account}/devices", DEVICE, like=409)
    home.send("GET", f"{account}/people/{WORD}", like=404)
    home.send("GET", f"/v1/accounts/{WORD}?email={WORD}%40example.com", like=404)
    rejected = home.send("POST", "/v1/traffic", [{**RECORD, "device": f"{WORD}-unknown"}]).json()
    assert len(rejected["rejected"]) == 1


def _get_mail(home: House, account: str) -> None:
    """A hint that is sent and comes back, and one that is put off because a mailbox is full."""
    home.send("POST", "/v1/credentials/hint", LOGIN)
    home.await_that(lambda: home.scalar("SELECT status FROM outbox") == "sent")
    [told] = home.mailbox.texts()
    assert CREDENTIALS["hint"] in told
    mail_id = home.scalar("SELECT mail_id FROM outbox")
    bounce = report(mail_id).replace(b"kim@example.com", OWNER["email"].encode())  # type: ignore[attr-defined]  # a text
    words = [sys.executable, "-m", "cloudpriv.cli", "mail", "bounce"]
    subprocess.run(words, input=bounce, env=home.database.environment("controller"), check=True, timeout=PATIENCE)
    other = home.make(f"{account}/people", {**OWNER, "username": f"{WORD}-other"})
    home.send("PUT", f"{other}/credentials", CREDENTIALS)
    home.mailbox.refusals["RCPT"] = [FULL] * 100
    home.send("POST", "/v1/credentials/hint", {**LOGIN, "username": f"{WORD}-other"})
    home.await_that(lambda: home.scalar("SELECT count(*) FROM outbox WHERE status = 'queued' AND failure <> ''") == 1)


def _be_held(home: House, account: str) -> None:
    """A hold that ends, and a person who is erased under it."""
    third = home.make(f"{account}/people", {**OWNER, "username": f"{WORD}-third"})
    hold = home.make(f"{account}/holds", {"scope": "account", "authority": f"{CLEAR} Court", "reference": f"{CLEAR} 1-26"})
    home.send("DELETE", third, If_Match='"1"')
    home.send("DELETE", hold, If_Match='"1"')


def export(home: House, account: str) -> None:
    """An archive that is ready and was fetched."""
    asked = home.send("POST", f"{account}/requests", {"type": "access"}).json()
    path = f"/v1/exports/{asked['export_id']}"
    home.await_that(lambda: bool(home.send("GET", path).json()["status"] == "ready"))
    home.send("GET", f"{path}/archive")


def erase(home: House, account: str) -> None:
    """Have the account erased by the worker, and its certificate issued."""
    etag = home.send("GET", account).headers["ETag"]
    purge = home.send("DELETE", account, If_Match=etag).headers["Location"]
    home.await_that(lambda: bool(home.send("GET", purge).json()["status"] == "done"))
    home.await_that(lambda: home.scalar("SELECT count(*) FROM certificates WHERE leaf_index IS NOT NULL") == 1)
    home.send("GET", account, like=404)


def bytes_of(owner: Engine, account_id: str) -> tuple[bytes, set[bytes]]:
    """The account's wrapped data key; and what is sealed in all its rows."""
    found = set()
    with owner.connect() as connection:
        for table in erased_tables(CONTROLLER):
            for column in (each for each in table.columns if (mark := classification_of(each)) and mark.sealed):
                query = text(f"SELECT {column.name} FROM {table.name} WHERE account_id = :id")  # noqa: S608  our own
                found |= {bytes(value) for value in connection.scalars(query, {"id": account_id}) if value}
        key = connection.scalar(text("SELECT wrapped FROM account_keys WHERE account_id = :id"), {"id": account_id})
    return bytes(key), found


def analyse(owner: Engine) -> None:
    """Have PostgreSQL take its statistics, as it does by itself: samples of values, which a DELETE does not reach."""
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def put_down(home: House) -> None:
    """Have Valkey write all that it has, plainly, beside its append-only file."""
    with redis.Redis.from_url(home.stack.environment["CLOUDPRIV_REDIS_URL"]) as cache:
        cache.config_set("rdbcompression", "no")
        cache.save()


def tidy(folder: Path) -> None:
    """Have the stopped PostgreSQL give back all that it has no use for."""
    identity = choose(postgres.program(), namespaces=True)
    private = make_private_folder(folder / "stack", identity)
    programs = postgres._copied(private, identity) if identity.is_other_user else postgres.program().parent
    cluster = folder / "stack" / postgres.NAME.lower() / "data"
    postgres._run([programs / "postgres", "--single", postgres.DATABASE], cluster, identity, AS_SUPERUSER)
    remove_private_folder(folder / "stack")


def places(folder: Path, found: Any) -> set[str]:
    """Where below the folder something was found, without the names of files."""
    return {str(file.relative_to(folder).parent) for file in found}


def test_nothing_of_an_erased_account_is_left_in_any_file(tmp_path: Path) -> None:
    told = [WORD, NUMBER, ADDRESS]
    with house(tmp_path) as home:
        account = live(home)
        archives = f"{EXPORTS}/{account.rpartition('/')[2]}"
        assert traces([tmp_path], told) == {}, "what lies in files is sealed"
        export(home, account)
        assert {place.rpartition("/")[0] for place in places(tmp_path, traces([tmp_path], told))} == {archives}
        analyse(home.owner)
        key, sealed = bytes_of(home.owner, account.rpartition("/")[2])
        assert len(sealed) > 10
        assert places(tmp_path, holding([tmp_path], [key])), "the key is found while it is there"
        erase(home, account)
        rows = [row for table in every_row(home.owner).values() for row in table]
        assert [row for row in rows for each in (*told, CLEAR) if each in row] == []
        put_down(home)
    tidy(tmp_path)
    assert traces([tmp_path], told) == {}
    # PostgreSQL's write-ahead log still has what was written until it is written over: see docs/retention.md.
    left = {*traces([tmp_path], [CLEAR]), *holding([tmp_path], [key, *sealed])}
    assert places(tmp_path, left) <= {LOG}
