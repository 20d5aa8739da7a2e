"""An account's owner at the command line: signs in at one plane's process, makes and revokes tokens at the other's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from click.testing import CliRunner, Result

from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from cloudpriv.controller import credentials
from cloudpriv.platform.passwords import Passwords
from tests.factories import make_account, make_person, transaction
from tests.served import Served, served
from tests.stack import TestDatabase

PASSWORD = "four words make one"


class Owner:
    """Somebody at a terminal who knows the addresses of both APIs and a password."""

    def __init__(self, api: Served, log_data: Served) -> None:
        self.api, self.log_data = api, log_data

    def __call__(self, *words: str, password: str | None = PASSWORD, **options: Any) -> Result:
        """One command about tokens."""
        who = ["--account", "acme-water", "--username", "kim", "--url", self.api.url, "--logdata-url", self.log_data.url]
        return CliRunner().invoke(main, ["logdata", "token", *words, *who], env={"CLOUDPRIV_PASSWORD": password}, **options)

    def reads_with(self, token: str) -> int:
        """The status of the access log with a token."""
        headers = {"Authorization": f"Bearer {token}"}
        return urllib3.request("GET", f"{self.log_data.url}/v1/logdata/access-log", headers=headers).status


@pytest.fixture
def owner(database: TestDatabase, services: Services, tmp_path: Path) -> Iterator[Owner]:
    """The owner kim of acme-water, with both planes served by processes of their own."""
    account_id = make_account(services, account_name="acme-water").row.account_id
    person_id = make_person(services, account_id, username="kim").row.person_id
    hashed = Passwords(time_cost=1, memory_kib=8, parallelism=1, concurrency=1).hash(PASSWORD)
    with transaction(services) as tx:
        credentials.set_credentials(tx, account_id, person_id, hashed, None)
    with (
        served(database, tmp_path / "api.log") as api,
        served(database, tmp_path / "log-data.log", "processor", token_issuer=api.url) as log_data,
    ):
        yield Owner(api, log_data)


def test_a_token_is_made_listed_and_revoked(owner: Owner) -> None:
    made = owner("create", "dashboard", "--kind", "reader", "--json")
    assert made.exit_code == 0, made.output
    token = json.loads(made.stdout)
    assert owner.reads_with(token["token"]) == 200
    listed = json.loads(owner("list", "--json").stdout)
    assert owner("list").stdout.startswith(f"{token['id']}  reader dashboard: last used 2")
    assert [(each["id"], each["name"]) for each in listed] == [(token["id"], "dashboard")]
    assert owner("revoke", token["id"]).exit_code == 0
    assert owner.reads_with(token["token"]) == 401
    device = owner("create", "pump", "--kind", "device", "--device", "pump-3", "--json")
    assert json.loads(device.stdout)["device"] == "pump-3"
    prompted = owner("list", password=None, input=f"{PASSWORD}\n")
    assert "pump-3" in prompted.stdout
    assert PASSWORD not in prompted.output
    for log in (owner.api.log, owner.log_data.log):
        written = log.read_text()
        assert not [secret for secret in (PASSWORD, token["token"], "acme-water", "pump-3") if secret in written]


def test_what_goes_wrong_is_one_line(owner: Owner) -> None:
    refused = owner("list", password="wrong")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert "Account name, username or password is wrong" in refused.stderr
    assert owner("create", "x", "--kind", "device").exit_code == 2
    gone = owner("revoke", "01a20000-0000-7000-8000-000000000000")
    assert (gone.exit_code, "404" in gone.stderr) == (1, True)
    owner.log_data = Served(1, owner.log_data.log)
    away = owner("list")
    assert (away.exit_code, len(away.stderr.splitlines())) == (1, 1)
