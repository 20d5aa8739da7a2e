"""Waits between attempts: they grow, they are those of the address and the account, and the owner gets in all the same."""

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from sqlalchemy import Engine, text

from cloudpriv.api import throttle
from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.api.throttle import FORGOTTEN, FREE, LONGEST_WAIT, Count
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.rights import code_mails
from tests.factories import make_account, transaction
from tests.holders import Holder, Time, make_holder


def guess(holder: Holder, address: str = "192.0.2.1", **changes: str) -> tuple[int, int]:
    """A wrong password from an address in a browser that nobody signed in from: status, and seconds to wait."""
    stranger = holder.elsewhere()
    options: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": address}}
    answer = stranger.attempt(**{"password": "wrong", **changes}, options=options)
    return answer.status_code, int(answer.headers.get("Retry-After", 0))


def checks(owner: Engine) -> int:
    """How many passwords were checked."""
    with owner.connect() as connection:
        found: int = connection.scalars(
            text("SELECT count(*) FROM audit_events WHERE action IN ('credentials.verify', 'credentials.reject')")
        ).one()
    return found


def test_waits_double_from_the_fourth_attempt_on_and_end_at_a_quarter_of_an_hour(
    kim: Holder, time: Time, owner_engine: Engine
) -> None:
    waits = []
    for number in range(15):
        status, wait = guess(kim, f"192.0.2.{number}")
        if status == 429:
            time.pass_by(seconds=wait - 0.001)
            assert guess(kim, f"192.0.2.{number}") == (429, 1), "not a moment early"
            time.pass_by(seconds=0.001)
            assert guess(kim, f"192.0.2.{number}") == (403, 0)
        waits.append(wait)
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    assert checks(owner_engine) == 15, "an attempt that has to wait checks no password"


def test_a_right_password_has_to_wait_like_a_wrong_one(kim: Holder) -> None:
    for number in range(3):
        guess(kim, f"192.0.2.{number}")
    page = kim.attempt()
    assert page.status_code == 429
    assert "/portal/sign-in/code" in page.text


def test_an_account_that_does_not_exist_has_the_same_waits(kim: Holder) -> None:
    of_nothing = [guess(kim, f"192.0.2.{number}", account_name="nothing") for number in range(5)]
    assert of_nothing == [guess(kim, f"192.0.2.{number}") for number in range(5)]


def test_an_address_that_tries_many_accounts_waits_too(app: Flask, services: Services, kim: Holder) -> None:
    tries = [guess(kim, "2001:db8::1", account_name=f"name-{number}")[0] for number in range(FREE["address"] + 1)]
    assert tries == [403] * FREE["address"] + [429]
    assert guess(kim, "2001:db8::ffff", account_name="other")[0] == 429, "one subscriber has the whole network"
    assert guess(kim, "2001:db8:0:1::1", account_name="other")[0] == 403


def tried(kim: Holder, numbers: range) -> list[int]:
    """Guesses at accounts of one name each from /64 networks of one /48 that are used once each."""
    return [guess(kim, f"2001:db8:7:{number:x}::1", account_name=f"name-{number}")[0] for number in numbers]


def test_whoever_has_many_networks_of_one_site_waits_too(kim: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FREE["site"] == 16 * FREE["address"]
    assert FREE["codes"] == 16 * FREE["code"]
    monkeypatch.setattr(throttle, "FREE", {**FREE, "site": 5})
    assert tried(kim, range(6)) == [403] * 5 + [429]
    assert guess(kim, "2001:db8:8::1", account_name="other")[0] == 403, "another site"
    assert guess(kim, "192.0.2.1", account_name="another")[0] == 403, "and IPv4 has no sites"


def test_a_right_password_forgives_a_site_no_more_than_itself(kim: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FREE", {**FREE, "site": 5})
    assert tried(kim, range(5)) == [403] * 5
    monkeypatch.setattr(throttle, "FREE", {**FREE, "site": 6})
    options = {"environ_base": {"REMOTE_ADDR": "2001:db8:7:ffff::1"}}
    assert kim.elsewhere().attempt(options=options).status_code == 303
    assert tried(kim, range(5, 7)) == [403, 429]


def test_codes_are_counted_by_site_too(kim: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FREE", {**FREE, "codes": 3})
    asked = []
    for number in range(4):
        options = {"environ_base": {"REMOTE_ADDR": f"2001:db8:7:{number:x}::1"}}
        asked.append(kim.elsewhere().post("/portal/sign-in/code", **kim.names, options=options).status_code)
    assert asked[2] != 429
    assert asked[3] == 429


def test_whoever_has_an_account_cannot_use_it_to_guess_at_others_without_waiting(
    app: Flask, services: Services, kim: Holder
) -> None:
    mallory = make_holder(app, services, make_account(services).row.account_id, username="mallory")
    for number in range(FREE["address"]):
        guess(kim, account_name=f"name-{number}")
        mallory.elsewhere().attempt(options={"environ_base": {"REMOTE_ADDR": "192.0.2.1"}})
    assert guess(kim, account_name="another")[0] == 429


@pytest.mark.parametrize("alone", [False, True])
def test_a_members_right_password_forgives_no_guess_at_the_owner(
    app: Flask, kim: Holder, alex: Holder, services: Services, alone: bool
) -> None:
    if alone:
        closed = Redis.from_url("redis://127.0.0.1:1")
        run = app.extensions[EXTENSION]
        app.extensions[EXTENSION] = replace(run, services=replace(run.services, redis=closed))
    found = []
    for number in range(5):
        found.append(guess(kim, f"192.0.2.{number}")[0])
        options = {"environ_base": {"REMOTE_ADDR": f"198.51.100.{number}"}}
        assert alex.elsewhere().attempt(options=options).status_code == 303, "who keeps no colleague out either"
    assert found == [403] * FREE["person"] + [429] * 2


def code_of(holder: Holder, services: Services, address: str) -> dict[str, str]:
    """Ask for a code in a new browser: what that browser then fills in, with the code of the mail."""
    options = {"environ_base": {"REMOTE_ADDR": address}}
    page = holder.post("/portal/sign-in/code", **holder.names, options=options)
    found = re.search('name="code_id" value="([^"]+)"', page.text)
    assert found is not None, page.status
    with transaction(services) as tx:
        code = code_mails.written(accounts.find_account(tx, holder.account_id).key, UUID(found[1]))
    return {**holder.names, "code_id": found[1], "code": code, "password": "some other words", "again": "some other words"}


def test_a_right_code_forgives_its_address_no_codes_of_others(
    app: Flask, services: Services, kim: Holder, time: Time
) -> None:
    mallory = make_holder(app, services, make_account(services).row.account_id, username="mallory")
    for _ in range(FREE["code"] - 1):
        code_of(kim.elsewhere(), services, "192.0.2.1")
    form = code_of(mallory, services, "192.0.2.1")
    time.pass_by(seconds=1)
    options = {"environ_base": {"REMOTE_ADDR": "192.0.2.1"}}
    assert mallory.post("/portal/new-password", "/portal/sign-in/code", **form, options=options).status_code == 303
    assert kim.elsewhere().post("/portal/sign-in/code", **kim.names, options=options).status_code == 429


def test_whoever_has_the_same_address_keeps_no_browser_waiting_that_the_person_signed_in_from(
    kim: Holder, services: Services
) -> None:
    kim.sign_in().post("/portal/sign-out", "/portal/sessions")
    for _ in range(FREE["code"]):
        code_of(kim.elsewhere(), services, "192.0.2.1")
    options = {"environ_base": {"REMOTE_ADDR": "192.0.2.1"}}
    assert kim.elsewhere().post("/portal/sign-in/code", **kim.names, options=options).status_code == 429
    form = code_of(kim, services, "192.0.2.1")
    assert kim.post("/portal/new-password", "/portal/sign-in/code", **form, options=options).status_code == 303
    kim.post("/portal/sign-out", "/portal/sessions")
    answers = [kim.post("/portal/sign-in/code", **kim.names, options=options).status_code for _ in range(8)]
    assert answers[-1] == 429, "but it counts"


def test_a_right_code_forgives_its_address_no_guess(services: Services, kim: Holder) -> None:
    for number in range(FREE["address"]):
        guess(kim, account_name=f"name-{number}")
    form = code_of(kim, services, "192.0.2.1")
    options = {"environ_base": {"REMOTE_ADDR": "192.0.2.1"}}
    assert kim.post("/portal/new-password", "/portal/sign-in/code", **form, options=options).status_code == 303
    assert guess(kim, account_name="another")[0] == 429


def test_many_people_behind_one_address_sign_in_without_waiting(kim: Holder) -> None:
    for _ in range(FREE["address"] + 5):
        assert kim.elsewhere().attempt().status_code == 303


def test_a_browser_that_the_person_signed_in_from_counts_apart(kim: Holder) -> None:
    kim.sign_in()
    kim.post("/portal/sign-out", "/portal/sessions")
    for number in range(FREE["account"] + 2):
        guess(kim, f"192.0.2.{number}")
    assert guess(kim)[0] == 429
    assert kim.attempt().status_code == 303, "nobody else's attempts keep the owner out"
    kim.post("/portal/sign-out", "/portal/sessions")
    assert [kim.attempt(password="wrong").status_code for _ in range(4)] == [403, 403, 403, 429], "but it counts"


def device_of(holder: Holder) -> str:
    """What the browser remembers of who signed in from it."""
    found = holder.http.get_cookie("cloudpriv-device")
    assert found is not None
    return str(found.value)


def test_a_browser_that_signs_in_again_and_again_is_one_browser(kim: Holder, time: Time) -> None:
    stolen = []
    for _ in range(3):
        kim.sign_in()
        kim.post("/portal/sign-out", "/portal/sessions")
        stolen.append(device_of(kim))
        time.pass_by(days=1)
    assert len(set(stolen)) == 3
    found = []
    for each in stolen * 2:
        thief = kim.elsewhere()
        thief.http.set_cookie("cloudpriv-device", each)
        found.append(thief.attempt(password="wrong").status_code)
    assert found == [403, 403, 403, 429, 429, 429]


def test_whoever_stole_what_many_browsers_remember_guesses_no_faster(kim: Holder) -> None:
    stolen = [device_of(kim.elsewhere().sign_in()) for _ in range(6)]
    found = []
    for number in range(6 * FREE["device"]):
        thief = kim.elsewhere()
        thief.http.set_cookie("cloudpriv-device", stolen[number % 6])
        found.append(thief.attempt(password="wrong").status_code)
    assert found == [403] * FREE["devices"] + [429] * (len(found) - FREE["devices"])
    assert guess(kim) == (403, 0), "and raises nobody else's count"


def test_while_redis_is_away_nobody_is_rid_of_a_count_before_as_many_others_were_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "MOST_KEYS", 10)
    alone, victim = throttle._Alone(), (Count("account", "victim"),)
    for _ in range(FREE["account"]):
        assert alone.take(victim, 0.0) == 0
    for number in range(9):
        alone.take((Count("account", str(number)),), 0.0)
    assert alone.take(victim, 0.5) > 0, "there is room for it and nine others"
    alone.take((Count("account", "tenth"),), 0.5)
    assert alone.take(victim, 0.5) == 0, "the one that was raised longest ago made room"
    assert len(alone._counts) == 10


def test_an_attempt_at_one_keeps_it_from_making_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_KEYS", 10)
    alone, address = throttle._Alone(), Count("address", "attacker")
    for number in range(FREE["address"]):
        assert alone.take((address, Count("account", str(number))), 0.0) == 0
    assert alone.take((address, Count("account", "another")), 0.0) > 0, "filling it clears no count of one's own"


def test_such_a_browser_counts_as_any_other_for_everybody_else(app: Flask, services: Services, kim: Holder) -> None:
    robin = make_holder(app, services, kim.account_id, username="robin")
    kim.sign_in()
    kim.post("/portal/sign-out", "/portal/sessions")
    for number in range(FREE["account"]):
        guess(kim, f"192.0.2.{number}")
    assert kim.attempt(username=robin.names["username"]).status_code == 429


@pytest.mark.parametrize("forged", ["", "x", "9999999999.", "9999999999." + "0" * 64, "é.é"])
def test_nobody_makes_such_a_browser_by_themselves(kim: Holder, forged: str) -> None:
    for number in range(FREE["account"]):
        guess(kim, f"192.0.2.{number}")
    kim.http.set_cookie("cloudpriv-device", forged)
    assert kim.attempt().status_code == 429


def test_such_a_browser_is_remembered_for_180_days(kim: Holder, time: Time) -> None:
    kim.sign_in()
    remembered = kim.http.get_cookie("cloudpriv-device")
    assert remembered is not None
    time.pass_by(days=180, seconds=-1)
    for number in range(FREE["account"]):
        guess(kim, f"192.0.2.{number}")
    later = kim.elsewhere()
    later.http.set_cookie("cloudpriv-device", remembered.value)
    assert later.attempt(password="wrong").status_code == 403
    time.pass_by(seconds=1)
    for number in range(FREE["account"] + 1):
        guess(kim, f"192.0.2.{number}")
    assert later.attempt().status_code == 429


def test_a_right_password_begins_the_count_of_its_account_anew(kim: Holder) -> None:
    for number in range(FREE["account"] - 1):
        guess(kim, f"192.0.2.{number}")
    assert kim.elsewhere().attempt().status_code == 303
    assert [guess(kim, f"192.0.2.{number}")[0] for number in range(4)] == [403, 403, 403, 429]


def test_a_day_without_attempts_is_forgotten(kim: Holder, services: Services) -> None:
    for number in range(FREE["account"]):
        guess(kim, f"192.0.2.{number}")
    keys = list(services.redis.scan_iter("cloudpriv:wait:*"))
    assert {services.redis.ttl(key) for key in keys} <= {FORGOTTEN, FORGOTTEN - 1}


def test_neither_names_nor_addresses_reach_redis(kim: Holder, services: Services) -> None:
    guess(kim, "192.0.2.77")
    for key in services.redis.scan_iter("*"):
        assert re.fullmatch(rb"cloudpriv:wait:[0-9a-f]{64}|LIMITS.*|rq:.*", key), key
    stored = b"".join([*services.redis.scan_iter("cloudpriv:wait:*"), *services.redis.scan_iter("LIMITS*")])
    assert b"LIMITS" in stored
    assert b"192.0.2.77" not in stored
    assert b"127.0.0.1" not in stored
    assert kim.names["account_name"].encode() not in stored


def test_while_redis_is_away_each_process_counts_by_itself(app: Flask, services: Services, kim: Holder, time: Time) -> None:
    away = replace(services, redis=Redis.from_url("redis://127.0.0.1:1"), clock=time)
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], services=away)
    assert [guess(kim, f"192.0.2.{number}") for number in range(4)] == [(403, 0), (403, 0), (403, 0), (429, 1)]
    time.pass_by(seconds=1)
    assert kim.elsewhere().attempt().status_code == 303
    assert guess(kim) == (403, 0)


STEPS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2000), st.booleans()), max_size=40)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS)
def test_a_process_alone_counts_as_redis_does(any_portal: Flask, stack: Any, steps: list[tuple[int, int, bool]]) -> None:
    redis = Redis.from_url(stack.environment["CLOUDPRIV_REDIS_URL"])
    script, forgive = redis.register_script(throttle.TAKE), redis.register_script(throttle.FORGIVE)
    alone = throttle._Alone()
    counts = (Count("address", "a"), Count("account", "b"))
    keys = [throttle.PREFIX + each.name for each in counts]
    redis.delete(*keys)
    now = 1_780_000_000.0
    for which, seconds, right in steps:
        now += seconds
        used, named = counts[which:], keys[which:]
        free = [FREE[each.kind] for each in used]
        waited = float(script(named, [now, LONGEST_WAIT, FORGOTTEN, *free]))
        assert waited == pytest.approx(alone.take(used, now))
        assert 0 <= waited <= LONGEST_WAIT
        if right and not waited:
            forgive(named, [int(each.forgiven) for each in used])
            alone.forgive(used)
    redis.close()
