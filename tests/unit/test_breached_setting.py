"""The setting of breached passwords: a list, or nothing; the API refuses to start on anything else."""

from pathlib import Path

import pytest

from cloudpriv.config import SettingsError, load
from tests.stack import TestDatabase

VARIABLE = "CLOUDPRIV_BREACHED_PASSWORDS_FILE"


@pytest.fixture
def environment(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with every other setting."""
    for name, value in database.environment().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_it_may_be_left_out(environment: pytest.MonkeyPatch) -> None:
    assert load("api").breached_passwords_file is None


def test_a_list_is_taken_by_the_api_alone(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "hashes"
    path.write_bytes(b"0" * 40 + b":3\r\n" + b"F" * 40 + b":1\r\n")
    environment.setenv(VARIABLE, str(path))
    assert (load("api").breached_passwords_file, load("worker").breached_passwords_file) == (str(path), None)


@pytest.mark.parametrize("content", [None, b"", b"password\nletmein\n", b"F" * 40 + b":3\n" + b"0" * 40 + b":1\n"])
def test_the_api_does_not_start_on_a_broken_list(
    environment: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "hashes"
    if content is not None:
        path.write_bytes(content)
    environment.setenv(VARIABLE, str(path))
    with pytest.raises(SettingsError, match=f"^{VARIABLE}: (names no readable file|must be SHA-1 hashes in order)") as fault:
        load("api")
    assert "\n" not in str(fault.value)
