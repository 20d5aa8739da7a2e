"""What `serve` says once everything answers."""

from pathlib import Path

import pytest

from cloudpriv.commands import processes

URL = "http://127.0.0.1:8080"
LOG_DATA = "http://127.0.0.1:8081"


@pytest.mark.parametrize("folder", [None, Path("var/embedded")])
def test_the_last_line_tells_where_the_portal_is_and_how_to_sign_in(
    capsys: pytest.CaptureFixture[str], folder: Path | None
) -> None:
    processes._say_where({"controller": URL, "processor": LOG_DATA}, folder)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert URL in first
    assert LOG_DATA in first
    assert f"{URL}/portal/" in last
    assert "account name, username and password" in last


def test_no_portal_is_told_of_where_log_data_alone_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    processes._say_where({"processor": LOG_DATA}, None)
    assert "portal" not in capsys.readouterr().out
