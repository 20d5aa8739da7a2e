"""Proof from the command line: shown and exported where the database is, verified where nothing is."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from tests.patience import PATIENCE
from tests.proofs import advance, change, make_certificate, make_events, vkeys
from tests.stack import TestDatabase


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Where the log's key is kept."""
    return tmp_path / "log.vkey"


@pytest.fixture
def certificate(worker_services: Services, database: TestDatabase, tmp_path: Path, key: Path) -> Path:
    """A published certificate's file, as `certificate show` writes it."""
    make_events(worker_services, 30)
    certificate_id = make_certificate(worker_services)
    advance(worker_services)
    key.write_text(online(database, "audit", "key").stdout)
    assert key.read_text() == vkeys(worker_services) + "\n"
    file = tmp_path / "certificate.json"
    assert online(database, "certificate", "show", str(certificate_id), "--output", str(file)).exit_code == 0
    return file


def online(database: TestDatabase, *words: str) -> Result:
    """A command where the database is."""
    return CliRunner().invoke(main, words, env={**database.environment(), "CLOUDPRIV_EMBEDDED": None})


def offline(*words: object) -> tuple[int, str]:
    """A command in a process without any setting: how it ends, and what it says."""
    command = [sys.executable, "-m", "cloudpriv.cli", *map(str, words)]
    done = subprocess.run(command, env={"LANG": "C.UTF-8"}, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.returncode, done.stdout + done.stderr


def test_a_certificate_is_verified_offline(certificate: Path, key: Path) -> None:
    code, said = offline("certificate", "verify", certificate, "--key", key)
    assert (code, "verified" in said) == (0, True), said
    certificate.write_text(certificate.read_text().replace('"people": 1', '"people": 2'))
    code, said = offline("certificate", "verify", certificate, "--key", key.read_text().strip())
    assert code == 1
    assert said.strip() == (
        "cloudpriv: certificate.json is not proved: the certificate's signature is not that of the key over its content"
    )


def test_an_exported_log_is_verified_offline(certificate: Path, key: Path, database: TestDatabase, tmp_path: Path) -> None:
    file = tmp_path / "log.ndjson"
    assert online(database, "audit", "export", str(file)).exit_code == 0
    assert offline("audit", "verify", file, "--key", key, "--json") == (
        0,
        '[{"log": "privacy.example.com/log/1", "leaves": 32}]\n',
    )
    assert offline("audit", "verify", file)[0] == 2
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:7], *lines[8:]]))
    code, said = offline("audit", "verify", file, "--key", key)
    assert (code, "leaves 0 to 30 are not what was signed for size 32" in said) == (1, True), said


def test_the_running_database_is_verified(
    certificate: Path, database: TestDatabase, worker_services: Services, owner_engine: Engine
) -> None:
    told = online(database, "audit", "verify", "--json").stdout
    assert told == '[{"log": "privacy.example.com/log/1", "leaves": 32, "signed": 32}]\n'
    changed = make_events(worker_services, 1)[0]
    advance(worker_services)
    change(owner_engine, "UPDATE audit_events SET actor_id = 'nobody' WHERE event_id = :id", id=changed)
    found = online(database, "audit", "verify")
    assert found.exit_code == 1
    assert f"privacy.example.com/log/1 index 32: {changed} is not what was logged" in found.stderr
    assert "cloudpriv: the trail is not what was logged and signed (faults: 1)" in found.stderr


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"certificate": {}}', b"\x00" * 100])
def test_a_file_that_is_no_certificate_is_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    found = CliRunner().invoke(main, ["certificate", "verify", str(file), "--key", "x"])
    assert found.exit_code == 1
    assert found.stderr.startswith("cloudpriv: x.json is not proved: ")
    assert found.stderr.count("\n") == 1
