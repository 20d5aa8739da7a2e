"""A major change of the policy is in view on every page until the owner says that they saw it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER
from cloudpriv.policy.register import Policy, load
from cloudpriv.policy.succession import Policies
from cloudpriv.rights import announcements
from tests.factories import transaction
from tests.holders import Holder, Time
from tests.unit.rights.test_announcements import changed

PAGE = "/portal/announcement"
BANNER = "Our privacy policy changes."


@pytest.fixture
def policy(app: Flask, kim: Holder, worker_services: Services, tmp_path: Path) -> Policy:
    """A new policy that kim was told of, and that the app serves."""
    made = changed(tmp_path)
    run = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, policies=Policies(made)))
    with transaction(worker_services, WORKER) as tx:
        assert announcements.announce(tx, made, limit=10) == 1
    return made


def test_an_owner_sees_it_after_signing_in_until_they_say_so(policy: Policy, kim: Holder) -> None:
    kim.sign_in()
    for path in ("/portal/", "/portal/consents"):
        assert BANNER in kim.get(path).text
    page = kim.get(PAGE)
    assert "1 July 2026" in page.text
    assert BANNER in kim.get("/portal/").text, "looking is not saying so"
    assert kim.post(PAGE, version=policy.version).location == "/portal/"
    assert BANNER not in kim.get("/portal/").text
    assert "I have seen this" not in kim.get(PAGE).text


def test_it_is_seen_again_in_another_browser_until_then(policy: Policy, kim: Holder) -> None:
    assert BANNER in kim.sign_in().get("/portal/").text
    assert BANNER in kim.elsewhere().sign_in().get("/portal/").text


def test_a_member_is_shown_nothing(policy: Policy, alex: Holder) -> None:
    assert BANNER not in alex.sign_in().get("/portal/").text
    assert alex.post(PAGE, "/portal/consents", version=policy.version).status_code == 404


def test_without_a_change_there_is_nothing_to_see(kim: Holder) -> None:
    assert BANNER not in kim.sign_in().get("/portal/").text


def test_who_is_not_signed_in_reads_the_notice_and_not_this(policy: Policy, kim: Holder) -> None:
    assert kim.get(PAGE).status_code == 303
    assert BANNER not in kim.get("/portal/notice").text


@pytest.fixture
def december(app: Flask, kim: Holder, worker_services: Services, tmp_path: Path) -> Policy:
    """A version that kim was told of and that is not in force yet."""
    made = changed(tmp_path, "2026-12-01")
    run = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, policies=Policies(load(), made)))
    with transaction(worker_services, WORKER) as tx:
        assert announcements.announce(tx, made, limit=10) == 1
    return made


def test_the_next_version_is_shown_beside_the_one_in_force(december: Policy, kim: Holder) -> None:
    assert BANNER in kim.sign_in().get("/portal/").text
    page = kim.get(PAGE).text
    assert "1 December 2026" in page
    assert 'href="/portal/notice/next"' in page
    assert 'href="/portal/notice"' in page.split("<main", 1)[1].split("</main", 1)[0]
    kim.post(PAGE, version=december.version)
    assert BANNER not in kim.get("/portal/").text


def test_who_saw_it_before_its_day_is_not_asked_again_on_it(december: Policy, kim: Holder, time: Time) -> None:
    kim.sign_in().post(PAGE, version=december.version)
    time.now = datetime(2026, 12, 1, tzinfo=UTC)
    kim.sign_in()
    assert BANNER not in kim.get("/portal/").text
    assert "/portal/notice/next" not in kim.get(PAGE).text


def test_a_page_that_was_open_over_midnight_still_notes_what_was_seen(december: Policy, kim: Holder, time: Time) -> None:
    time.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    token = kim.sign_in().token(PAGE)
    time.pass_by(seconds=2)
    assert BANNER in kim.get("/portal/").text
    assert kim.post(PAGE, version=december.version, csrf_token=token).status_code == 303
    assert BANNER not in kim.get("/portal/").text


@pytest.mark.parametrize("version", [None, "1999-01-01", "2023-03-30"])
def test_nothing_is_noted_of_a_version_that_nobody_was_told_of(december: Policy, kim: Holder, version: str | None) -> None:
    assert kim.sign_in().post(PAGE, version=version).status_code == 404
    assert BANNER in kim.get("/portal/").text


def test_two_versions_are_seen_one_after_the_other(
    app: Flask, policy: Policy, kim: Holder, worker_services: Services, tmp_path: Path
) -> None:
    later = changed(tmp_path, "2026-12-01")
    run = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, policies=Policies(policy, later)))
    with transaction(worker_services, WORKER) as tx:
        announcements.announce(tx, later, limit=10)
    kim.sign_in()
    for each, day in ((policy, "1 July 2026"), (later, "1 December 2026")):
        assert (BANNER in kim.get("/portal/").text, day in kim.get(PAGE).text) == (True, True)
        kim.post(PAGE, version=each.version)
    assert BANNER not in kim.get("/portal/").text
