"""A major change of the policy is in view on every page until the owner says that they saw it."""

from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER
from cloudpriv.policy.register import Policy
from cloudpriv.rights import announcements
from tests.factories import transaction
from tests.holders import Holder
from tests.unit.rights.test_announcements import changed

PAGE = "/portal/announcement"
BANNER = "Our privacy policy changes."


@pytest.fixture
def policy(app: Flask, kim: Holder, worker_services: Services, tmp_path: Path) -> Policy:
    """A new policy that kim was told of, and that the app serves."""
    made = changed(tmp_path)
    run = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, policy=made))
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
    assert kim.post(PAGE).location == "/portal/"
    assert BANNER not in kim.get("/portal/").text
    assert "I have seen this" not in kim.get(PAGE).text


def test_it_is_seen_again_in_another_browser_until_then(policy: Policy, kim: Holder) -> None:
    assert BANNER in kim.sign_in().get("/portal/").text
    assert BANNER in kim.elsewhere().sign_in().get("/portal/").text


def test_a_member_is_shown_nothing(policy: Policy, alex: Holder) -> None:
    assert BANNER not in alex.sign_in().get("/portal/").text
    assert alex.post(PAGE, "/portal/consents").status_code == 404


def test_without_a_change_there_is_nothing_to_see(kim: Holder) -> None:
    assert BANNER not in kim.sign_in().get("/portal/").text


def test_who_is_not_signed_in_reads_the_notice_and_not_this(policy: Policy, kim: Holder) -> None:
    assert kim.get(PAGE).status_code == 303
    assert BANNER not in kim.get("/portal/notice").text
