"""Links, one click and the form for who cannot sign in: nobody but the reader of the mail gets through them."""

import base64
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import (
    GoneError,
    NotFoundError,
)
from cloudpriv.rights import effects
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents import doors
from cloudpriv.rights.consents import links as consent_links
from cloudpriv.rights.erasure import erase_person
from tests.consents import DAY, NEWS, SURVEYS, WEEK, Kim
from tests.factories import NOW, transaction
from tests.mailbox import Mailbox
from tests.purges import await_blocked
from tests.stack import TestDatabase, every_row


def test_looking_at_a_link_changes_nothing(kim: Kim) -> None:
    kim.ask()
    kim.post()
    for _ in range(3):
        with transaction(kim.services) as tx:
            seen = doors.look(tx, kim.services.policy, kim.link(), lambda _: "sv")
        assert (seen.asks, seen.state, seen.told.language) == ("given", "open", "sv")
    assert kim.states() == ["requested"]


def test_a_link_acts_once_and_its_answer_stays_the_same(kim: Kim) -> None:
    kim.give()
    token = kim.link()
    assert kim.confirm(token).state == "answered"
    assert kim.states() == ["requested", "given"]
    kim.withdraw()
    with pytest.raises(GoneError):
        kim.confirm(token)
    assert kim.states() == ["requested", "given", "withdrawn"]


@pytest.mark.parametrize("change", [lambda token: token[:-2] + "AA", lambda token: token[:-1], lambda _: "x", lambda _: "å"])
def test_a_link_that_is_not_ours_finds_nothing(kim: Kim, change: Callable[[str], str]) -> None:
    kim.ask()
    kim.post()
    with pytest.raises(NotFoundError):
        kim.confirm(change(kim.link()))


def test_the_proof_of_one_account_opens_nothing_of_another(
    kim: Kim, services: Services, worker_services: Services, mailbox: Mailbox
) -> None:
    other = Kim(services, worker_services, mailbox)
    kim.ask()
    other.ask()
    kim.post()
    proofs = [consent_links.read(kim.link(number)) for number in (0, 1)]
    mixed = [replace(proofs[0], proof=proofs[1].proof), replace(proofs[1], account_id=proofs[0].account_id)]  # type: ignore[type-var, union-attr]  # both are links
    for token in mixed:
        raw = token.account_id.bytes + token.subject_id.bytes + token.proof  # type: ignore[union-attr]  # as above
        with pytest.raises(NotFoundError):
            kim.confirm(base64.urlsafe_b64encode(raw).decode())


def test_a_link_to_unsubscribe_confirms_nothing_and_the_other_way_round(kim: Kim, mailbox: Mailbox) -> None:
    kim.give()
    confirmation = kim.link()
    kim.post()
    assert mailbox.received[-1]["Subject"].startswith("You consented")
    with pytest.raises(NotFoundError):
        kim.confirm(kim.link())
    with transaction(kim.services) as tx, pytest.raises(NotFoundError):
        doors.unsubscribe(tx, kim.services.policy, confirmation)


def test_one_click_withdraws_for_good_even_by_the_link_of_an_old_mail(kim: Kim) -> None:
    kim.give()
    kim.post()
    old = kim.link()
    kim.withdraw()
    kim.give(now=NOW + DAY)
    for _ in range(2):
        with transaction(kim.services, now=NOW + 400 * DAY) as tx:
            left = doors.unsubscribe(tx, kim.services.policy, old)
        assert (left.purpose, left.done) == (NEWS, True)
    assert kim.states()[-2:] == ["given", "withdrawn"]
    assert kim.stands(SURVEYS)[0] == "none"


def test_looking_at_a_link_to_unsubscribe_changes_nothing(kim: Kim) -> None:
    kim.give()
    kim.post()
    with transaction(kim.services) as tx:
        assert not doors.look_before_leaving(tx, kim.link()).done
    assert kim.stands()[2]


def test_who_cannot_sign_in_withdraws_by_two_acts(kim: Kim, mailbox: Mailbox) -> None:
    kim.give()
    kim.post()
    kim.ask_to_withdraw(now=NOW + DAY)
    assert kim.stands(now=NOW + DAY) == ("withdrawal_requested", NOW + DAY, True)
    kim.post(NOW + DAY)
    assert mailbox.received[-1]["Subject"] == "Please confirm that you withdraw: News about products and services"
    assert kim.confirm(now=NOW + DAY).asks == "withdrawn"
    assert kim.states() == ["requested", "given", "withdrawal_requested", "withdrawn"]


def test_a_withdrawal_that_nobody_confirms_leaves_consent_as_it_was(kim: Kim) -> None:
    kim.give()
    kim.ask_to_withdraw()
    assert kim.stands(now=NOW + WEEK) == ("given", NOW, True)
    kim.expire(NOW + WEEK)
    assert kim.states()[-1] == "expired"
    assert kim.stands(now=NOW + WEEK) == ("given", NOW, True)


def test_asking_to_withdraw_twice_asks_once(kim: Kim) -> None:
    kim.give()
    kim.ask_to_withdraw()
    kim.ask_to_withdraw()
    assert kim.states() == ["requested", "given", "withdrawal_requested"]


def test_who_is_not_there_is_asked_about_by_the_same_statements(
    kim: Kim, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    kim.give()
    kim.post()
    name, seen = kim.name(), list[str]()
    fetch_one = Tx.fetch_one

    def note(statement: str) -> None:
        seen.append(" ".join(statement.split()[:3]) if "INSERT" in statement else statement)  # what is NULL is left out

    def fetch(tx: Tx, statement: str, values: dict[str, Any]) -> Any:
        note(statement)
        return fetch_one(tx, statement, values)

    def statements(account_name: str = name, username: str = "kim", purpose: str = NEWS) -> list[str]:
        seen.clear()
        kim.ask_to_withdraw(purpose, account_name=account_name, username=username)
        return seen.copy()

    monkeypatch.setattr(Tx, "fetch_one", fetch)
    event.listen(services.controller.engine, "before_cursor_execute", lambda *call: note(call[2]))
    here = statements()
    assert len(here) == 6
    assert statements(username="nobody") == here
    assert statements(account_name="nowhere") == here
    assert statements(purpose=SURVEYS) == here, "who has not consented"
    assert [mail[1:] for mail in kim.post()[-3:]] == [("dropped", "nobody")] * 3


def test_a_confirmation_waits_for_a_withdrawal_that_is_under_way_and_finds_it(
    kim: Kim, database: TestDatabase, owner_engine: Engine
) -> None:
    kim.ask()
    kim.post()
    token, other, ended = kim.link(), database.services("api"), list[str]()

    def confirm() -> None:
        try:
            with transaction(other) as tx:
                doors.confirm(tx, other.policy, token, lambda _: "en")
        except GoneError:
            ended.append("gone")

    thread = threading.Thread(target=confirm)
    with transaction(kim.services, kim.actor) as tx:
        consents.withdraw(tx, kim.services.policy, kim.account_id, kim.person_id, NEWS)
        thread.start()
        assert await_blocked(owner_engine, lambda: not thread.is_alive())
    thread.join()
    other.controller.engine.dispose()
    assert (kim.states(), ended) == (["requested", "withdrawn"], ["gone"])


def test_an_erased_person_leaves_no_consent_and_their_links_find_nothing(kim: Kim, owner_engine: Engine) -> None:
    kim.give()
    kim.post()
    token = kim.link()
    with transaction(kim.services) as tx:
        version = people.find_person(tx, kim.account_id, kim.person_id).version
        erase_person(tx, kim.account_id, kim.person_id, version)
    assert every_row(owner_engine)["consent_records"] == []
    with transaction(kim.services) as tx, pytest.raises(NotFoundError):
        doors.unsubscribe(tx, kim.services.policy, token)


def test_a_link_that_was_mailed_to_a_former_address_confirms_nothing(services: Services, kim: Kim) -> None:
    kim.ask()
    kim.post()
    link = kim.link()
    with transaction(services, kim.actor) as tx:
        effects.rectify_person(tx, kim.account_id, kim.person_id, 1, {"email": "new@example.com"}, restricted=True)
    with pytest.raises(NotFoundError):
        kim.confirm(link)
    assert kim.stands()[0] == "requested"
    kim.ask(now=NOW + timedelta(hours=1))
    kim.post(NOW + timedelta(hours=1))
    assert kim.link() != link
    kim.confirm(now=NOW + timedelta(hours=1))
    assert kim.stands(now=NOW + timedelta(hours=1))[0] == "given"
