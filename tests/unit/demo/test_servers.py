"""The demo reads no settings but those of its own stack."""

import os

import pytest

from cloudpriv.demo.servers import only


def test_settings_of_another_installation_are_out_of_sight_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPRIV_DATABASE_URL", "theirs")
    monkeypatch.setenv("CLOUDPRIV_POLICY_FILE", "theirs")
    with only({"CLOUDPRIV_DATABASE_URL": "ours"}):
        found = {name: value for name, value in os.environ.items() if name.startswith("CLOUDPRIV_")}
        assert found == {"CLOUDPRIV_DATABASE_URL": "ours"}
        os.environ["CLOUDPRIV_LOG_LEVEL"] = "DEBUG"
    assert os.environ["CLOUDPRIV_DATABASE_URL"] == "theirs"
    assert os.environ["CLOUDPRIV_POLICY_FILE"] == "theirs"
    assert "CLOUDPRIV_LOG_LEVEL" not in os.environ


def test_they_come_back_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPRIV_DATABASE_URL", "theirs")
    with pytest.raises(KeyboardInterrupt), only({}):
        raise KeyboardInterrupt
    assert os.environ["CLOUDPRIV_DATABASE_URL"] == "theirs"
