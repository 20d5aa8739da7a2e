"""/dmweb: whose token opens what, and who is told of it."""

from itertools import product
from uuid import UUID

from flask import Flask

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.tables import LogEvent
from tests.dmweb import SERVICES, Program
from tests.logdata import Caller, device_token, log_transaction, make_log_account, reader_token
from tests.senders import Sender


def test_a_device_of_another_account_is_not_there(
    program: Program, pump: Sender, processor: ProcessorServices, log_app: Flask
) -> None:
    other = make_log_account(processor)
    stranger = Program(log_app, reader_token(processor, other))
    assert stranger.ask("getewon", 404, id=1)["code"] == 404
    assert stranger.ask("getstatus") == {"historyCount": 0, "ewonsCount": 0, "ewons": []}


def test_without_a_token_of_this_plane_there_is_nothing(log_app: Flask) -> None:
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"t2mtoken": "x"},
        {"t2mtoken": ""},
        {"t2maccount": "a", "t2musername": "b", "t2mpassword": "the-account-password"},
        {"t2mtoken": "cpr_" + "A" * 22 + "_" + "B" * 43},
        {"t2mtoken": "x" * 5000},
    )
    for service, credentials in product(SERVICES, wrong):
        answer = log_app.test_client().post(f"/dmweb/{service}", data=credentials)
        assert answer.status_code == 401
        assert answer.json == {"success": False, "code": 401, "message": "Invalid credentials"}
        assert "WWW-Authenticate" in answer.headers


def test_a_token_stands_in_place_of_the_password(program: Program, pump: Sender, reader: Caller) -> None:
    program.credentials = {"t2maccount": "any", "t2musername": "any", "t2mpassword": reader.token}
    assert program.ask("getstatus")["historyCount"] == 5


def test_a_token_may_come_as_a_bearer_too_but_a_wrong_parameter_is_wrong(reader: Caller, pump: Sender) -> None:
    assert reader.get("/dmweb/getstatus").status_code == 200
    assert reader.get("/dmweb/getstatus?t2mtoken=x").status_code == 401


def test_a_revoked_token_is_worth_nothing_at_once(program: Program, pump: Sender, owner: Caller) -> None:
    program.ask("getstatus")
    tokens = owner.get("/v1/logdata/tokens").json
    assert tokens is not None
    reader_id = next(token["id"] for token in tokens["items"] if token["kind"] == "reader")
    assert owner.send("DELETE", f"/v1/logdata/tokens/{reader_id}").status_code == 204
    program.ask("getstatus", 401)


def test_a_device_token_reads_nothing(log_app: Flask, processor: ProcessorServices, log_account: UUID) -> None:
    sensor = Program(log_app, device_token(processor, log_account))
    for service in SERVICES:
        found = sensor.ask(service, 403, all="true")
        assert (found["success"], found["code"]) == (False, 403)


def test_a_token_of_the_vendor_is_refused_and_the_attempt_told(vendor: Caller, reader: Caller) -> None:
    for service in SERVICES:
        answer = vendor.http.get(f"/dmweb/{service}", query_string={"t2mtoken": vendor.token, "all": "true"})
        assert (answer.status_code, answer.json and answer.json["code"]) == (403, 403)
    told = reader.get("/v1/logdata/access-log").json
    assert told is not None
    refused = [event["fields"] for event in told["items"] if event["action"] == "access.refused"]
    assert refused == [[f"GET /dmweb/{SERVICES[0]}"]], "attempts that name no account are told once an hour"


def test_every_look_and_change_is_told_to_the_customer(program: Program, pump: Sender, processor: ProcessorServices) -> None:
    before = _actions(processor)
    sent = program.ask("syncdata", createTransaction="true")["transactionId"]
    program.http.get("/dmweb/getstatus", query_string=program.credentials)
    program.http.get("/dmweb/getewons", query_string=program.credentials)
    program.http.get("/dmweb/getewon", query_string={**program.credentials, "id": 1})
    program.http.get("/dmweb/getdata", query_string=program.credentials)
    program.ask("delete", transactionId=sent)
    program.ask("clean", all="1")
    told = [
        "points.read",
        "devices.read",
        "devices.read",
        "points.read",
        "points.read",
        "deletion.order",
        "transactions.forget",
    ]
    assert _actions(processor)[len(before) :] == told


def _actions(processor: ProcessorServices) -> list[str]:
    with log_transaction(processor) as tx:
        return [event.action for event in tx.session.query(LogEvent).order_by(LogEvent.event_id)]
