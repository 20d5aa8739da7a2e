"""The policy in force, for everyone to read."""

import pytest
from flask import Flask

from cloudpriv.policy.register import load


def test_the_register_is_public_and_whole(app: Flask) -> None:
    answer = app.test_client().get("/v1/policy")
    assert answer.status_code == 200, answer.text
    assert answer.get_json() == load().as_register("en")


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
