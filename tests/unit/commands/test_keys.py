"""`cloudpriv keys`: key-encryption keys in use, and their rotation, after which the former one may be destroyed."""

import base64
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.cli import main
from cloudpriv.controller import accounts
from cloudpriv.platform.keys import Keyring, load_keyring
from cloudpriv.processor import accounts as log_accounts
from tests.factories import make_account, transaction
from tests.logdata import log_transaction, make_log_account
from tests.stack import TestDatabase


class Installation:
    """Both planes with a second key-encryption key in each keyring, which is the active one from now on."""

    def __init__(self, database: TestDatabase, folder: Path) -> None:
        self.files = {plane: folder / f"{plane}.json" for plane in ("controller", "processor")}
        self.variables: dict[str, str | None] = {**database.environment(), "CLOUDPRIV_EMBEDDED": None}
        for plane, variable in (("controller", "CLOUDPRIV_KEYRING_FILE"), ("processor", "CLOUDPRIV_PROCESSOR_KEYRING_FILE")):
            known = json.loads(Path(self.variables[variable] or "").read_text())
            known["keys"]["new"], known["active"] = base64.b64encode(secrets.token_bytes(32)).decode(), "new"
            self.files[plane].write_text(json.dumps(known))
            self.variables[variable] = str(self.files[plane])

    def run(self, *words: str) -> Result:
        """One command about both planes."""
        return CliRunner().invoke(main, ["keys", *words, "--plane", "all"], env=self.variables)

    def used(self) -> dict[tuple[str, bool], int]:
        """How many accounts of each plane have data keys under the new key, and under others."""
        found: dict[tuple[str, bool], int] = {}
        told = self.run("show", "--json")
        assert told.exit_code == 0, told.output
        rows: list[dict[str, Any]] = json.loads(told.stdout)
        for row in rows:
            new = (row["plane"], row["active"])
            found[new] = found.get(new, 0) + row["accounts"]
        return found

    def ring_without_former(self, plane: str) -> Keyring:
        """The keyring of a plane once all but the new key are destroyed."""
        ring = load_keyring(self.files[plane], plane)
        return replace(ring, keys={"new": ring.keys["new"]})


@pytest.fixture
def installation(database: TestDatabase, tmp_path: Path) -> Installation:
    """An installation whose key-encryption keys are being replaced."""
    return Installation(database, tmp_path)


def test_all_data_keys_are_wrapped_anew_and_the_former_key_may_go(
    installation: Installation, services: Services, processor: ProcessorServices, owner_engine: Engine
) -> None:
    known = [make_account(services).row.account_id for _ in range(3)]
    log_account = make_log_account(processor)
    assert installation.used() == {
        ("controller", False): 3, ("controller", True): 0, ("processor", False): 1, ("processor", True): 0,
    }  # fmt: skip
    done = installation.run("rewrap")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        ["controller: 3 data keys were wrapped under new.", "processor: 1 data keys were wrapped under new."],
    )
    assert installation.used() == {
        ("controller", False): 0, ("controller", True): 3, ("processor", False): 0, ("processor", True): 1,
    }  # fmt: skip
    later = replace(services, controller=replace(services.controller, keys=installation.ring_without_former("controller")))
    for account_id in known:
        with transaction(later) as tx:
            assert accounts.find_account(tx, account_id).profile["account_name"]
    log_data = replace(processor, plane=replace(processor.plane, keys=installation.ring_without_former("processor")))
    with log_transaction(log_data) as tx:
        assert log_accounts.find_account(tx, log_account)
    assert "0 data keys" in installation.run("rewrap").stdout, "done again, it has nothing to do"


def test_a_data_key_that_does_not_open_is_told_and_holds_up_no_other(
    installation: Installation, services: Services, owner_engine: Engine
) -> None:
    broken, fine = (make_account(services).row.account_id for _ in range(2))
    with owner_engine.begin() as connection:
        connection.execute(
            text("UPDATE account_keys SET wrapped = decode('00', 'hex') WHERE account_id = :id"), {"id": broken}
        )
    done = installation.run("rewrap")
    assert (done.exit_code, str(broken) in done.stderr, "1 data keys were left as they are" in done.stderr) == (
        1,
        True,
        True,
    )
    assert kek_of(owner_engine, fine) == "new"
    assert kek_of(owner_engine, broken) != "new"


def kek_of(owner: Engine, account_id: UUID) -> object:
    """The name of the key that an account's data key is wrapped under."""
    with owner.connect() as connection:
        return connection.scalar(text("SELECT kek_id FROM account_keys WHERE account_id = :id"), {"id": account_id})
