"""The policy in force, for everyone to read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.policy.register import load
from cloudpriv.policy.succession import Policies
from tests.holders import Time
from tests.unit.rights.test_announcements import changed


def test_the_register_is_public_and_whole(app: Flask) -> None:
    answer = app.test_client().get("/v1/policy")
    assert answer.status_code == 200, answer.text
    assert answer.get_json() == load().as_register("en") | {"next": None}


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("sv-SE, en;q=0.5", "sv"),
        ("fr-BE, nl;q=0.5", "fr"),
        ("es", "es"),
        ("de", "en"),
        ("", "en"),
        (";;q=é", "en"),
        ("*;q=0", "en"),
    ],
)
def test_the_register_comes_in_the_language_that_fits_best(app: Flask, wanted: str, language: str) -> None:
    answer = app.test_client().get("/v1/policy", headers={"Accept-Language": wanted})
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == (language, "Accept-Language")
    assert answer.get_json()["language"] == language


def test_the_next_version_is_told_in_short_until_its_day_and_is_the_register_then(
    app: Flask, services: Services, tmp_path: Path
) -> None:
    following, run = changed(tmp_path, "2026-12-01"), app.extensions[EXTENSION]
    day, answers = datetime(2026, 12, 1, tzinfo=UTC), {}
    for moment in (day - timedelta(microseconds=1), day):
        known = replace(services, policies=Policies(load(), following), clock=Time(moment))
        app.extensions[EXTENSION] = replace(run, services=known)
        answers[moment] = app.test_client().get("/v1/policy").get_json()
    early, late = answers.values()
    assert early == load().as_register("en") | {"next": {"version": "2026-12-01", "valid_from": "2026-12-01", "major": True}}
    assert late == following.as_register("en") | {"next": None}
