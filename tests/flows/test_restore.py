"""A backup by pg_dump, an erasure, a restore by pg_restore: nothing serves what was erased until it is erased again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import urllib3
from click.testing import CliRunner, Result
from sqlalchemy import Engine, func, text, update

from cloudpriv.audit import certificates
from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from cloudpriv.controller.holder_tables import HolderSession, OneTimeCode
from cloudpriv.embedded.joining import joined
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention import erase, ledger
from cloudpriv.retention.ledger import Entry
from tests.backend import register
from tests.backups import dump, restore
from tests.exports import stored
from tests.factories import NOW
from tests.flows.embedded_data import s3_client
from tests.patience import PATIENCE
from tests.purges import await_a_round, checksums_of_others, let_it_age, make_full_account, rows_of
from tests.served import Served, served
from tests.stack import TestDatabase, every_row

PROGRAM = [sys.executable, "-m", "cloudpriv.cli"]
STARTS = (["serve", "--bind", "127.0.0.1:0"], ["worker", "--burst"], ["schedule"])
BEHIND = "the database is older than the erasure ledger: run `cloudpriv purge replay`"


def assert_none_starts(environment: dict[str, str], *starts: list[str]) -> None:
    """Real processes, which all end at once with one line."""
    refused = [
        subprocess.Popen([*PROGRAM, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in starts
    ]
    for each in refused:
        assert each.communicate(timeout=PATIENCE) == ("", f"cloudpriv: {BEHIND}\n")
        assert each.returncode == 1


def command(environment: dict[str, str], *words: str) -> Result:
    """What an operator's command comes to."""
    return CliRunner().invoke(main, words, env={"CLOUDPRIV_EMBEDDED": None, **environment})


def replay(environment: dict[str, str], *words: str) -> Any:
    """What `purge replay` tells."""
    done = command(environment, "purge", "replay", "--json", *words)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return json.loads(done.stdout)


def refusal(environment: dict[str, str], *words: str) -> str:
    """The one line with which a command ends that refuses to begin."""
    refused = command(environment, *words)
    assert (refused.exit_code, refused.stdout) == (1, ""), refused.output
    [line] = refused.stderr.splitlines()
    return line


@contextmanager
def process(environment: dict[str, str], *words: str) -> Iterator[None]:
    """A process that is there as long as this lasts."""
    started = subprocess.Popen([*PROGRAM, *words], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
        assert started.poll() is None, "it ended by itself"
    finally:
        started.kill()
        started.wait(PATIENCE)


def send(api: Served, token: str, method: str, account_id: UUID, **headers: str) -> urllib3.BaseHTTPResponse:
    fields = {"Authorization": f"Bearer {token}", **headers}
    return urllib3.request(method, f"{api.url}/v1/accounts/{account_id}", headers=fields)


def erase_by_http(api: Served, token: str, account_id: UUID, owner: Engine) -> None:
    """Have the account erased as its backend does, and wait until a worker has done it."""
    etag = send(api, token, "GET", account_id).headers["ETag"]
    assert send(api, token, "DELETE", account_id, **{"If-Match": etag}).status == 202
    deadline = time.monotonic() + PATIENCE
    while rows_of(owner, account_id):
        assert time.monotonic() < deadline, "it was never erased"
        time.sleep(0.05)


def rows_that_name(owner: Engine, account_id: UUID) -> set[str]:
    """The tables of which a row holds the account's id."""
    return {name for name, rows in every_row(owner).items() if any(str(account_id) in row for row in rows)}


def texts_of(owner: Engine, account_id: UUID) -> set[str]:
    """Every row of the account, as text."""
    with owner.connect() as connection:
        statement = "SELECT t::text FROM {} t WHERE account_id = %(id)s"
        return {
            row
            for name in rows_of(owner, account_id)
            for row in connection.exec_driver_sql(statement.format(name), {"id": account_id}).scalars()
        }


def origin_of_log(api: Served) -> str:
    """The first line of the log's published checkpoint, once there is one."""
    return public(api, "/v1/audit/checkpoint").decode().splitlines()[0]


def public(api: Served, path: str) -> bytes:
    """What anybody reads there, once it has been published."""
    deadline = time.monotonic() + PATIENCE
    while (answer := urllib3.request("GET", f"{api.url}{path}")).status != 200:
        assert time.monotonic() < deadline, f"{path} was never published"
        time.sleep(0.05)
    return answer.data


def certificate_of_the_erased(api: Served, owner: Engine) -> dict[str, Any]:
    """The one certificate's document, once the schedule has published it."""
    deadline = time.monotonic() + PATIENCE
    certificate_id = None
    while certificate_id is None and time.monotonic() < deadline:
        with owner.connect() as connection:
            certificate_id = connection.scalar(text("SELECT certificate_id FROM certificates"))
    found: dict[str, Any] = json.loads(public(api, f"/v1/certificates/{certificate_id}"))
    return found


def entry_of(account_id: UUID) -> Entry:
    """What the ledger says of an erased account."""
    return Entry(erase.hash_of(account_id), "talk2m", "request", "GDPR Article 17", "2023-03-30", {"accounts": 1}, NOW)


def test_what_was_erased_after_the_backup_is_erased_again_before_anything_serves(
    services: Services, database: TestDatabase, owner_engine: Engine, tmp_path: Path
) -> None:
    erased, *others = (make_full_account(services) for _ in range(3))
    client_id, secret = register(database)
    with owner_engine.begin() as connection:  # the schedule would erase what was to be kept for days of June
        connection.execute(text("UPDATE exports SET expires_at = now() + interval '7 days'"))
        connection.execute(text("UPDATE idempotency_keys SET expires_at = now() + interval '1 day'"))
        for table in (HolderSession, OneTimeCode):
            connection.execute(update(table).values(created_at=func.now(), expires_at=func.now() + timedelta(hours=12)))
    canaries, intact = texts_of(owner_engine, erased), checksums_of_others(owner_engine, erased)
    assert len(canaries) > 10
    dump(database, tmp_path / "backup")

    environment = database.environment("controller")
    with served(database, tmp_path / "api.log") as api, process(environment, "worker"), process(environment, "schedule"):
        erase_by_http(api, api.token(client_id, secret), erased, owner_engine)
        assert origin_of_log(api).endswith("/log/1")
        certificate, keys = certificate_of_the_erased(api, owner_engine), public(api, "/v1/audit/key").decode()
    assert rows_that_name(owner_engine, erased) == {"audit_events"}

    owner_engine.dispose()
    services.controller.engine.dispose()
    restore(database, tmp_path / "backup")
    assert texts_of(owner_engine, erased) == canaries, "the restore brings the erased account back"

    assert_none_starts(environment, *STARTS)
    before = every_row(owner_engine)
    shown = replay(environment)
    assert (shown["missing"], [each["account_id"] for each in shown["returned"]]) == (1, [str(erased)])
    assert every_row(owner_engine) == before, "a dry run changes nothing"
    refused = command(environment, "purge", "replay", "0123456789abcdef", "--execute")
    assert (refused.exit_code, "is not what that plan showed" in refused.stderr) == (1, True)
    replay(environment, shown["plan"], "--execute")

    with served(database, tmp_path / "api.log") as api, process(environment, "schedule"):
        token = api.token(client_id, secret)
        assert send(api, token, "GET", erased).status == 404
        assert [send(api, token, "GET", other).status for other in others] == [200, 200]
        assert origin_of_log(api).endswith("/log/2"), "no second tree of one size under the old name"
        again = public(api, f"/v1/certificates/{certificate['certificate']['id']}")
        assert json.loads(again) == certificate, "the certificate outlives the restore"
        certificates.verify(certificate, keys)
        await_a_round(owner_engine)
    assert rows_that_name(owner_engine, erased) == {"audit_events"}
    assert canaries.isdisjoint(row for rows in every_row(owner_engine).values() for row in rows)
    assert stored(services, erased) == []
    assert checksums_of_others(owner_engine, erased) == intact


def test_nothing_starts_while_the_ledger_cannot_be_read(database: TestDatabase) -> None:
    away = {**database.environment("controller"), "CLOUDPRIV_S3_ENDPOINT": "http://127.0.0.1:9"}
    absent = {**database.environment("controller"), "CLOUDPRIV_S3_LEDGER_BUCKET": "not-there"}
    assert "cannot be read" in refusal(away, "serve")
    assert ["cannot be read" in refusal(absent, *words) for words in STARTS] == [True, True, True]


def test_no_plan_is_carried_out_on_a_database_that_is_behind(
    services: Services, database: TestDatabase, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    let_it_age(owner_engine, account_id)
    [plan] = json.loads(command(database.environment("controller"), "purge", "plan", "--json").stdout)
    ledger.store(services.ledger, entry_of(new_id()))
    before = rows_of(owner_engine, account_id)
    assert BEHIND in refusal(database.environment("controller"), "purge", "run", plan["plan"], "--execute")
    assert rows_of(owner_engine, account_id) == before


def test_the_embedded_stack_serves_nothing_before_replay_either(tmp_path: Path) -> None:
    with joined(tmp_path) as own:
        bucket = ObjectStore(s3_client(own.environment), own.environment["CLOUDPRIV_S3_LEDGER_BUCKET"])
        ledger.store(bucket, entry_of(new_id()))
        chosen = {**os.environ, "CLOUDPRIV_EMBEDDED": str(tmp_path)}
        assert_none_starts(chosen, ["serve", "--bind", "127.0.0.1:0"])
        plan = replay(chosen)["plan"]
        assert [replay(chosen, *words)["missing"] for words in ([plan, "--execute"], [])] == [1, 0]
