"""`cloudpriv export`: make an archive, check one offline."""

import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from cloudpriv.audit import notes
from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from tests.stack import TestDatabase
from tests.unit.rights.full_account import full_account


@pytest.fixture
def vkey(services: Services) -> str:
    """The verifier key of this stack."""
    return notes.verifier_key("example.com/log", services.require_proof_key()).text


def command(database: TestDatabase | None, *words: str) -> Result:
    environment: dict[str, str | None] = {} if database is None else {**database.environment()}
    return CliRunner().invoke(main, words, env={**environment, "CLOUDPRIV_EMBEDDED": None})


def test_an_archive_of_an_account_is_made_and_checked_without_any_server(
    database: TestDatabase, services: Services, owner_engine: Engine, tmp_path: Path, vkey: str
) -> None:
    made, archive = full_account(services, owner_engine), tmp_path / "all.zip"
    told = command(database, "export", str(made.account_id), "--output", str(archive))
    assert told.exit_code == 0, told.output
    keys = tmp_path / "keys"
    keys.write_text(f"{vkey}\n")
    checked = command(None, "export", "verify", str(archive), "--key", str(keys))
    assert checked.exit_code == 0, checked.output
    assert str(made.account_id) in checked.stdout


def test_an_archive_of_a_person_is_made_in_their_language(
    database: TestDatabase, services: Services, owner_engine: Engine, tmp_path: Path, vkey: str
) -> None:
    made, archive = full_account(services, owner_engine), tmp_path / "one.zip"
    words = ("--person", str(made.people["kim"]), "--language", "fr", "--output", str(archive))
    assert command(database, "export", "account", str(made.account_id), *words).exit_code == 0
    with zipfile.ZipFile(archive) as opened:
        assert 'lang="fr"' in opened.read("index.html").decode()
        assert "canary-robin" not in "".join(opened.read(name).decode() for name in opened.namelist())
    checked = command(None, "export", "verify", str(archive), "--key", vkey, "--json")
    assert '"scope": "person"' in checked.stdout


def test_what_is_wrong_with_an_archive_is_one_line(tmp_path: Path, vkey: str) -> None:
    archive = tmp_path / "bad.zip"
    archive.write_bytes(b"PK")
    checked = command(None, "export", "verify", str(archive), "--key", vkey)
    assert (checked.exit_code, len(checked.stderr.splitlines())) == (1, 1)
    assert "bad.zip is not what was signed" in checked.stderr


@pytest.mark.parametrize("words", [["export", "no-id"], ["export", "verify"], ["export", "verify", "no.zip", "--key", "x"]])
def test_wrong_usage_ends_with_two(words: list[str]) -> None:
    assert command(None, *words).exit_code == 2
