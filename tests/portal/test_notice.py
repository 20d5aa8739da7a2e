"""The privacy notice is the policy in force, whole, for everybody and in their language."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.api.runtime import runtime
from cloudpriv.policy.register import Policy, choose_language, load
from cloudpriv.policy.succession import Policies
from tests.holders import Holder, Time
from tests.unit.rights.test_announcements import changed

TOLD = ("text", "title", "name", "applies_to", "attention")


def texts_of(value: Any) -> list[str]:
    """Every text for readers in a register: what stands under `text`, `title` and their like."""
    if isinstance(value, dict):
        named = [
            value[name] for name in ("text", "title", "name", "applies_to", "attention") if isinstance(value.get(name), str)
        ]
        return named + [text for each in value.values() for text in texts_of(each)]
    return [text for each in value for text in texts_of(each)] if isinstance(value, list) else []


def flowing(page: str) -> str:
    return " ".join(unescape(page).split())


@pytest.mark.parametrize("language", ["en", "sv", "fr", "es"])
def test_everything_that_the_policy_says_stands_in_the_notice(kim: Holder, app: Flask, language: str) -> None:
    answer = kim.get("/portal/notice", headers={"Accept-Language": language})
    assert answer.status_code == 200
    with app.app_context():
        policy = runtime().services.policy
    register = policy.as_register(choose_language([(language, 1.0)], policy.languages))
    page = flowing(answer.text)
    # Anchors are the words of retention rules, and log data's terms are told in the processor plane.
    parts = {name: register[name] for name in register.keys() - {"anchors", "processor", "lawful_bases"}}
    assert [text for text in texts_of(parts) if flowing(text) not in page] == []
    assert f'<html lang="{language}">' in answer.text


def test_purposes_grounds_and_articles_are_told(kim: Holder, app: Flask) -> None:
    page = flowing(kim.get("/portal/notice").text)
    with app.app_context():
        register = runtime().services.policy.as_register("en")
    assert [each for activity in register["activities"] for each in activity["purposes"] if each not in page] == []
    bases = {each["key"]: each["title"] for each in register["lawful_bases"]}
    used = {ground["basis"] for activity in register["activities"] for ground in activity["lawful_basis"]}
    assert [bases[key] for key in used if bases[key] not in page] == []
    assert all(f"GDPR, Article {right['article']}" in page for right in register["rights"])
    for controller in register["controllers"]:
        assert all(line in page for line in controller["address"])


def test_every_entry_of_the_contents_leads_to_a_part(kim: Holder) -> None:
    text = kim.get("/portal/notice").text
    targets = [part.split('"', 1)[0] for part in text.split('href="#')[1:]]
    assert len(targets) > 15
    assert [target for target in targets if f'id="{target}"' not in text] == []


def test_the_notice_is_there_for_who_is_signed_in_too(kim: Holder) -> None:
    assert kim.sign_in().get("/portal/notice").status_code == 200


def read(kim: Holder, path: str = "/portal/notice") -> str:
    """What a reader sees of a page's words."""
    return re.sub(r"</?time[^>]*>", "", flowing(kim.get(path).text))


NOW_LINK, NEXT_LINK = "Read the version that is in force now", "Read the new version"


@pytest.fixture
def december(app: Flask, tmp_path: Path) -> Policy:
    """A version that is not in force yet, and no major change."""
    made = changed(tmp_path, "2026-12-01", major=False)
    made = msgspec.structs.replace(made, title=dict.fromkeys(made.languages, "December policy"))
    run = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, policies=Policies(load(), made)))
    return made


def test_the_notice_links_the_next_version_and_stays_the_one_in_force(december: Policy, kim: Holder) -> None:
    page = read(kim)
    assert "in force from 30 March 2023" in page
    assert "A new version applies from 1 December 2026." in page
    assert (NEXT_LINK in page, "December policy" in page) == (True, False)


def test_the_next_version_can_be_read_whole_and_says_that_it_is_not_in_force(december: Policy, kim: Holder) -> None:
    page = read(kim, "/portal/notice/next")
    assert "December policy, in force from 1 December 2026." in page
    assert "This version is not in force yet." in page
    assert (NOW_LINK in page, NEXT_LINK in page) == (True, False)


def test_on_its_day_the_next_version_is_the_notice_and_its_address_leads_there(
    december: Policy, kim: Holder, time: Time
) -> None:
    time.now = datetime(2026, 12, 1, tzinfo=UTC)
    page = read(kim)
    assert "December policy, in force from 1 December 2026." in page
    assert (NOW_LINK in page, NEXT_LINK in page) == (False, False)
    assert kim.get("/portal/notice/next").location == "/portal/notice"


def test_without_a_next_version_its_address_leads_to_the_notice(kim: Holder) -> None:
    assert kim.get("/portal/notice/next").location == "/portal/notice"
    assert NEXT_LINK not in kim.get("/portal/notice").text
