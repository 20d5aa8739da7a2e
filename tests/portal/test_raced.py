"""A page that looked before it locked: what a backend or staff did in between counts, and is neither undone nor missed."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.db import Tx
from cloudpriv.rights import effects, requests, restriction
from cloudpriv.rights.erasure import erase_person
from tests.factories import BACKEND, transaction
from tests.holders import Holder
from tests.portal.test_identity import FORM, identity_of


def before_the_lock(
    monkeypatch: pytest.MonkeyPatch, services: Services, module: ModuleType, name: str, happens: Callable[[Tx], object]
) -> None:
    """Have something committed right before the account is locked for the first time."""
    real: Callable[..., Any] = getattr(module, name)
    done: list[bool] = []

    def lock(tx: Tx, *given: Any, **named: Any) -> Any:
        if not done and (name == "lock_account" or named.get("lock")):
            done.append(True)
            with transaction(services, BACKEND) as other:
                happens(other)
        return real(tx, *given, **named)

    monkeypatch.setattr(module, name, lock)


def test_two_changes_of_a_person_at_once_do_not_undo_each_other(
    kim: Holder, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    kim.sign_in()
    token, changes = kim.token("/portal/identity"), {"email": "new@example.com"}
    before_the_lock(
        monkeypatch, services, vars(effects)["accounts"], "lock_account",
        lambda tx: effects.rectify_person(tx, kim.account_id, kim.person_id, 1, changes),
    )  # fmt: skip
    assert kim.post("/portal/identity", csrf_token=token, **FORM).status_code == 412
    assert identity_of(services, kim)["email"] == "new@example.com"


def test_a_change_of_a_person_erased_meanwhile_is_refused(
    kim: Holder, alex: Holder, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kim.account_id == alex.account_id
    alex.sign_in()
    token = alex.token("/portal/identity")
    before_the_lock(
        monkeypatch, services, vars(effects)["accounts"], "lock_account",
        lambda tx: erase_person(tx, alex.account_id, alex.person_id, 1),
    )  # fmt: skip
    assert alex.post("/portal/identity", csrf_token=token, **FORM).status_code < 500


def test_a_closing_waits_for_staff_who_restricted_its_asker_a_moment_ago(
    kim: Holder, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    kim.sign_in()
    token = kim.token("/portal/closing/confirm")
    with transaction(services) as tx:
        name = accounts.find_account(tx, kim.account_id).profile["account_name"]
    before_the_lock(
        monkeypatch, services, vars(requests)["accounts"], "find_account",
        lambda tx: restriction.restrict_person(tx, kim.account_id, kim.person_id),
    )  # fmt: skip
    kim.post("/portal/closing/confirm", csrf_token=token, account_name=name)
    with transaction(services) as tx:
        assert accounts.find_account(tx, kim.account_id).row.status != "closing"
