"""The privacy notice is the policy in force, whole, for everybody and in their language."""

from html import unescape
from typing import Any

import pytest
from flask import Flask

from cloudpriv.api.runtime import runtime
from cloudpriv.policy.register import choose_language
from tests.holders import Holder

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
