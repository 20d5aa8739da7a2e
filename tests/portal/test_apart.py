"""The portal beside the API on one host: what opens the one opens nothing of the other. And what a new installation has."""

import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from cloudpriv.portal import app as portal
from tests.holders import Holder, Time

SCRIPTS = sorted((Path(portal.__file__).parent / "static").glob("*.js"))


@pytest.mark.parametrize("path", ["/v1/me", "/v1/me/requests", "/v1/accounts"])
def test_the_api_takes_no_cookie(kim: Holder, path: str) -> None:
    assert kim.sign_in().get("/portal/sessions").status_code == 200
    assert kim.get(path).status_code == 401


def test_no_answer_of_the_api_sets_a_cookie(kim: Holder) -> None:
    answer = kim.app.test_client().post("/v1/session", json={**kim.names, "password": kim.password})
    assert (answer.status_code, answer.headers.getlist("Set-Cookie")) == (200, [])


def test_the_token_of_a_session_opens_no_page(kim: Holder) -> None:
    token = (
        kim.app.test_client().post("/v1/session", json={**kim.names, "password": kim.password}).get_json()["access_token"]
    )
    answer = kim.get("/portal/sessions", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/portal/sign-in")


def test_scripts_neither_take_messages_nor_write_markup() -> None:
    assert SCRIPTS
    told = re.compile(
        r"postMessage|[\"']message[\"']|onmessage|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\("
    )
    assert [script.name for script in SCRIPTS if told.search(script.read_text())] == []


def test_a_new_installation_has_nobody_who_could_get_in(app: Flask, owner_engine: Engine) -> None:
    with owner_engine.connect() as connection:
        counts = [connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in ("people", "credentials", "clients")]  # noqa: S608
    assert counts == [0, 0, 0]


def test_a_password_stays_good_for_as_long_as_nobody_changes_it(kim: Holder, time: Time) -> None:
    time.pass_by(days=3650)
    assert kim.attempt().location == "/portal/"
