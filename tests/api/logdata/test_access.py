"""Who may call the processor plane: customers by kind of token, never the vendor; and the customer sees who tried."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.app import create_processor_app
from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.config import SettingsError
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import tokens
from tests.factories import NOW
from tests.logdata import Caller, issuer, make_log_account, reader_token

TOKENS = "/v1/logdata/tokens"
LOG = "/v1/logdata/access-log"
CLIENT = new_id()
MEMBER = {"GET": LOG, "POST": TOKENS}


def refusals(reader: Caller) -> list[dict[str, Any]]:
    """The refused attempts that the customer sees."""
    return [event for event in reader.get(f"{LOG}?limit=500").get_json()["items"] if event["action"] == "access.refused"]


def altered(token: str) -> list[str]:
    """Texts that are nearly a token, and none."""
    other = "A" if token[-1] != "A" else "B"
    return [token[:-1] + other, token[:-1], token + "A", token.replace("cpr_", "cpd_"), "cpr_", "cpr_" + "x" * 10_000,
            token[:26] + "." + token[27:], token + "\u00e9", "eyJ.x.y", "x" * 5000]  # fmt: skip


def test_whatever_is_wrong_with_a_token_the_answer_is_the_same(reader: Caller, owner: Caller) -> None:
    good = reader.token
    revoked = owner.get(TOKENS).get_json()["items"][0]["id"]
    answers = []
    for text_ in altered(good):
        reader.token = text_
        answers.append(reader.get(LOG))
    owner.send("DELETE", f"{TOKENS}/{revoked}")
    reader.token = good
    answers.append(reader.get(LOG))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Bearer realm="cloudpriv"'}


def test_a_token_says_no_other_account_than_its_own(log_app: Flask, processor: ProcessorServices, reader: Caller) -> None:
    other = reader_token(processor, make_log_account(processor))
    mixed = Caller(log_app, other[:26] + reader.token[26:], reader.account_id)
    assert mixed.get(LOG).status_code == 401


def test_a_device_may_neither_read_nor_make_tokens(device: Caller) -> None:
    assert [device.get(path).status_code for path in (LOG, TOKENS)] == [403, 403]


def test_a_member_may_do_nothing(log_app: Flask, processor: ProcessorServices, stack: Stack, log_account: UUID) -> None:
    session = issuer(stack, processor).issue_session(
        "talk2m", log_account, new_id(), "member", processor.clock(), session_id=new_id()
    )
    member = Caller(log_app, session, log_account)
    assert {member.send(method, path).status_code for method, path in MEMBER.items()} == {403}


def test_a_session_ends(log_app: Flask, processor: ProcessorServices, stack: Stack, log_account: UUID) -> None:
    begun = processor.clock() - timedelta(minutes=10)
    session = issuer(stack, processor).issue_session("talk2m", log_account, new_id(), "owner", begun, session_id=new_id())
    assert Caller(log_app, session, log_account).get(TOKENS).status_code == 401


def test_another_accounts_token_is_not_found(owner: Caller, processor: ProcessorServices, stack: Stack) -> None:
    owner.post(TOKENS, {"kind": "reader", "name": "dashboard"})
    token_id = owner.get(TOKENS).get_json()["items"][0]["id"]
    stranger_account = make_log_account(processor)
    session = issuer(stack, processor).issue_session(
        "talk2m", stranger_account, new_id(), "owner", processor.clock(), session_id=new_id()
    )
    stranger = Caller(owner.http.application, session, stranger_account)
    assert stranger.get(TOKENS).get_json()["items"] == []
    assert stranger.send("DELETE", f"{TOKENS}/{token_id}").status_code == 404
    assert owner.get(TOKENS).get_json()["items"][0]["revoked_at"] is None


def test_the_vendor_is_refused_and_the_customer_sees_it(vendor: Caller, reader: Caller) -> None:
    refused = vendor.get(f"{LOG}?account_id={reader.account_id}")
    assert (refused.status_code, refused.get_json()["type"]) == (403, "/problems/insufficient_scope")
    (event,) = refusals(reader)
    assert (event["account_id"], event["actor_kind"]) == (str(reader.account_id), "client")
    assert event["fields"] == [f"GET {LOG}"]
    assert event["request_id"] == refused.headers["X-Request-Id"]


def test_an_attempt_that_names_no_account_is_shown_to_every_customer(
    vendor: Caller, reader: Caller, processor: ProcessorServices
) -> None:
    other = Caller(reader.http.application, reader_token(processor, make_log_account(processor)), reader.account_id)
    vendor.post(TOKENS, {})
    for name in (new_id(), "nothing", ""):
        vendor.post(f"{TOKENS}?account_id={name}", {})
    for customer in (reader, other):
        (event,) = refusals(customer)
        assert (event["account_id"], event["fields"]) == (None, [f"POST {TOKENS}"])


def test_an_attempt_at_one_account_is_not_shown_to_another(
    vendor: Caller, reader: Caller, processor: ProcessorServices
) -> None:
    other = make_log_account(processor)
    vendor.get(f"{LOG}?account_id={other}")
    assert refusals(reader) == []


def standing(at: datetime) -> datetime:
    """A clock that stands."""
    return at


def test_attempts_that_name_no_account_are_told_once_an_hour_whatever_they_try(
    log_app: Flask, vendor: Caller, reader: Caller, processor: ProcessorServices, stack: Stack
) -> None:
    """They stand in every customer's log, for ever: one client at most 24 times a day."""
    run = log_app.extensions[EXTENSION]
    for minutes in (0, 2, 59, 61):
        at = NOW + timedelta(minutes=minutes)
        later = replace(processor, clock=partial(standing, at))
        log_app.extensions[EXTENSION] = replace(run, services=later)
        caller = Caller(
            log_app, issuer(stack, later).issue(CLIENT, "talk2m", "accounts:read", later.clock()), reader.account_id
        )
        for method, path in (("GET", LOG), ("POST", TOKENS), ("GET", "/v1/logdata/points"), ("GET", "/dmweb/getdata")):
            assert caller.send(method, path).status_code == 403
    log_app.extensions[EXTENSION] = run
    assert [(event["account_id"], event["fields"]) for event in refusals(reader)] == [(None, [f"GET {LOG}"])] * 2


def test_a_refusal_says_what_would_do_instead(vendor: Caller, device: Caller) -> None:
    assert "only by an instruction" in vendor.get("/v1/logdata/points").get_json()["detail"]
    assert "reader token" in device.get("/dmweb/getdata").get_json()["message"]
    assert "scope" in device.get("/v1/logdata/points").get_json()["detail"]


def test_the_access_log_is_read_from_its_newest_too(reader: Caller) -> None:
    for _ in range(3):
        reader.get(LOG)
    newest, path = [], f"{LOG}?order=desc&limit=2"
    while path:
        answer = reader.get(path)
        newest += [event["id"] for event in answer.get_json()["items"]]
        path = answer.headers.get("Link", "<>").split(">")[0][1:]
    oldest = [event["id"] for event in reader.get(f"{LOG}?limit=500").get_json()["items"]]
    assert newest == sorted(newest, reverse=True)
    assert set(oldest[:5]) <= set(newest)
    assert reader.get(f"{LOG}?order=sideways").status_code == 422


def test_a_flood_of_attempts_leaves_one_event_a_minute_by_client_route_and_account(
    log_app: Flask, vendor: Caller, reader: Caller, processor_owner: Engine
) -> None:
    run = log_app.extensions[EXTENSION]
    now = run.services.clock()
    log_app.extensions[EXTENSION] = replace(run, services=replace(run.services, clock=lambda: now))

    def flood() -> None:
        for _ in range(10):
            with vendor.http.application.test_client() as http:
                headers = {"Authorization": f"Bearer {vendor.token}"}
                assert http.get(f"{LOG}?account_id={reader.account_id}", headers=headers).status_code == 403

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with processor_owner.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM log_events WHERE action = 'access.refused'")) == 1
    vendor.get(TOKENS)
    assert len(refusals(reader)) == 2


def test_the_last_use_is_written_at_most_once_a_minute(reader: Caller, processor_owner: Engine) -> None:
    def last_use() -> Any:
        with processor_owner.connect() as connection:
            return connection.scalar(text("SELECT last_used_at FROM log_tokens WHERE kind = 'reader'"))

    reader.get(LOG)
    first = last_use()
    assert first is not None
    reader.get(LOG)
    assert last_use() == first
    with processor_owner.begin() as connection:
        connection.execute(text("UPDATE log_tokens SET last_used_at = last_used_at - interval '61 s'"))
    reader.get(LOG)
    assert last_use() > first


def test_the_access_log_goes_on_from_a_cursor(reader: Caller) -> None:
    seen: list[str] = []
    path: str | None = f"{LOG}?limit=1"
    for _ in range(3):
        assert path is not None
        answer = reader.get(path).get_json()
        seen += [event["id"] for event in answer["items"]]
        path = f"{LOG}?limit=1&cursor={answer['next_cursor']}"
    assert seen == sorted(set(seen))
    assert len(seen) == 3


def test_a_token_is_kept_as_a_hash_and_its_name_sealed(owner: Caller, processor_owner: Engine) -> None:
    made = owner.post(TOKENS, {"kind": "device", "name": "a telling name", "device": "a telling device"}).get_json()
    with processor_owner.connect() as connection:
        for table in ("log_tokens", "log_devices", "log_events"):
            rows = str(connection.execute(text(f"SELECT t::text FROM {table} t")).all())  # noqa: S608  names of tables
            telling = [word for word in ("telling", made["token"]) if word in rows or word.encode().hex() in rows]
            assert not telling, table


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "device", "name": "x"}, "/device"),
        ({"kind": "reader", "name": "x", "device": "y"}, "/device"),
        ({"kind": "owner", "name": "x"}, "/kind"),
        ({"kind": "reader"}, "/name"),
        ({"kind": "reader", "name": "x", "scopes": []}, "/scopes"),
    ],
)
def test_a_token_of_no_kind_is_not_made(owner: Caller, body: dict[str, Any], pointer: str) -> None:
    answer = owner.post(TOKENS, body)
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, pointer)


def test_the_processor_plane_does_not_start_with_the_private_key(processor: ProcessorServices, services: Services) -> None:
    settings = replace(processor.settings, token_key_file=services.settings.signing_key_file)
    with pytest.raises(SettingsError, match="private key"):
        create_processor_app(replace(processor, settings=settings))


def test_a_token_knows_its_account_and_nothing_else_does(reader: Caller) -> None:
    assert tokens.account_of(reader.token) == reader.account_id
    assert [tokens.account_of(text_) for text_ in ("", "cpr_", reader.token[:-1], "cpx_" + reader.token[4:])] == [None] * 4
