"""Behind proxies a caller's address is what the outermost trusted one says, for limits and the access log alike."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudpriv.api import throttle
from cloudpriv.app import create_app, create_processor_app
from cloudpriv.bootstrap import ProcessorServices, Services
from tests.factories import NOW

FIRST, OTHER, INNER = "198.51.100.1", "203.0.113.9", "192.0.2.7"


@pytest.fixture(autouse=True)
def _few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an address wait after three attempts."""
    monkeypatch.setattr(throttle, "FREE", {**throttle.FREE, "address": 3})


def sign_in(services: Services, proxies: int, *forwarded: str) -> list[int]:
    """What attempts to sign in to accounts that there are not, from these addresses and all at one time, are answered."""
    settings = replace(services.settings, trusted_proxies=proxies)
    http = create_app(replace(services, settings=settings, clock=lambda: NOW)).test_client()
    found = []
    for number, addresses in enumerate(forwarded):
        body = {"service": "talk2m", "account_name": f"none-{number}", "username": "kim", "password": "no"}
        found.append(http.post("/v1/session", json=body, headers={"X-Forwarded-For": addresses}).status_code)
    return found


def test_strangers_behind_a_trusted_proxy_do_not_lock_others_out_of_signing_in(services: Services) -> None:
    assert sign_in(services, 1, FIRST, FIRST, FIRST, FIRST, OTHER) == [401, 401, 401, 429, 401]


def test_without_trusted_proxies_nobody_chooses_an_address(services: Services) -> None:
    assert sign_in(services, 0, FIRST, FIRST, FIRST, OTHER) == [401, 401, 401, 429]


def test_what_a_caller_puts_before_the_trusted_proxys_word_counts_for_nothing(services: Services) -> None:
    claimed = [f"{FIRST}, {OTHER}", f"{INNER}, {OTHER}", OTHER, f"10.0.0.1, {OTHER}"]
    assert sign_in(services, 1, *claimed) == [401, 401, 401, 429]


@pytest.mark.parametrize(("proxies", "address"), [(0, "127.0.0.1"), (1, INNER), (2, OTHER)])
def test_the_access_log_has_the_same_address(
    services: Services, processor: ProcessorServices, tmp_path: Path, proxies: int, address: str
) -> None:
    changed: dict[str, Any] = {"trusted_proxies": proxies, "access_log_dir": str(tmp_path)}
    apps = (
        create_app(replace(services, settings=replace(services.settings, **changed))),
        create_processor_app(replace(processor, settings=replace(processor.settings, **changed))),
    )
    for app in apps:
        app.test_client().get("/healthz", headers={"X-Forwarded-For": f"{FIRST}, {OTHER}, {INNER}"})
    [log] = tmp_path.iterdir()
    assert [line.split()[0] for line in log.read_text().splitlines()] == [address, address]
