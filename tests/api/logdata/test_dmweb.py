"""/dmweb: the DataMailbox API, as programs that were written for Talk2M speak it."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.app import create_processor_app
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.tables import LogDevice, LogEvent
from tests.factories import NOW
from tests.logdata import Caller, carry_out, device_token, log_transaction, make_log_account, reader_token
from tests.senders import Sender, point

MINUTE = timedelta(minutes=1)
SERVICES = ("getstatus", "getewons", "getewon", "getdata", "syncdata", "delete", "clean")
# What a service cannot take.
UNFIT: list[tuple[str, dict[str, Any]]] = [
    ("getewon", {}),
    ("getewon", {"id": "one"}),
    ("getdata", {"from": "yesterday"}),
    ("getdata", {"to": "2026-02-30T00:00:00Z"}),
    ("getdata", {"from": "0001-01-01T00:00:00+01:00"}),
    ("getdata", {"limit": "0"}),
    ("getdata", {"limit": "-1"}),
    ("getdata", {"fullConfig": "maybe"}),
    ("getdata", {"ewonId": "1" * 19}),
    ("getdata", {"ewonId": "\u0661"}),
    ("syncdata", {"lastTransactionId": "7"}),
    ("syncdata", {"lastTransactionId": "x"}),
    ("syncdata", {"ewonIds": ""}),
    ("syncdata", {"ewonIds": "1,,2"}),
    ("syncdata", {"t2mdevid": "one", "T2MDEVID": "two"}),
    ("delete", {}),
    ("delete", {"all": "false"}),
    ("delete", {"ewonId": ""}),
    ("delete", {"transactionId": "7"}),
    ("clean", {}),
]
# What is not there, and how that is said: numbers are repeated, names are not.
ABSENT: list[tuple[str, dict[str, Any], str]] = [
    ("getewon", {"id": "99"}, "No eWON found for id '99'"),
    ("getewon", {"name": "secret-name"}, "No eWON found for this name"),
    ("getdata", {"ewonId": "99"}, "No eWON found for id '99'"),
    ("getdata", {"tagId": "99"}, "No tag found for id '99'"),
    ("syncdata", {"ewonIds": "1,99"}, "No eWON found for id '99'"),
    ("delete", {"ewonId": "99"}, "No eWON found for id '99'"),
    ("delete", {"tagId": "99"}, "No tag found for id '99'"),
    ("clean", {"ewonId": "99"}, "No eWON found for id '99'"),
]


class Program:
    """A program that reads log data through the DataMailbox API."""

    def __init__(self, app: Flask, token: str) -> None:
        self.http: FlaskClient = app.test_client()
        self.credentials = {"t2mdevid": "a-developer", "t2mtoken": token}

    def ask(self, service: str, status: int = 200, **parameters: Any) -> Any:
        """The answer of a service, the same by GET as by POST where it changes nothing."""
        sent = self.credentials | {name.rstrip("_"): value for name, value in parameters.items()}
        answer = self.http.post(f"/dmweb/{service}", data=sent)
        assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
        if service.startswith("get"):
            by_query = self.http.get(f"/dmweb/{service}", query_string=sent)
            assert (by_query.status_code, by_query.json) == (status, answer.json)
        return answer.json


@pytest.fixture
def program(log_app: Flask, reader: Caller) -> Program:
    """A program with a reader token."""
    return Program(log_app, reader.token)


@pytest.fixture
def pump(log_app: Flask, processor: ProcessorServices, log_account: UUID) -> Sender:
    """A device that sent points of every kind."""
    sender = Sender(processor, log_account)
    sender.send(
        [
            point(21.5, NOW - 2 * MINUTE, "temperature", unit="°C"),
            point(22.25, NOW - MINUTE, "temperature", quality="uncertain"),
            point(7, NOW - MINUTE, "starts"),
            point(True, NOW - MINUTE, "running"),
            point("idle", NOW - MINUTE, "state"),
        ]
    )
    with log_transaction(processor) as tx:  # the database's clock told when it was
        tx.session.execute(update(LogDevice).values(last_point_at=NOW))
    return sender


def history(answer: Any) -> dict[str, list[Any]]:
    """The values of an answer by tag."""
    return {
        tag["name"]: [point["value"] for point in tag["history"]] for device in answer["ewons"] for tag in device["tags"]
    }


def test_getstatus_counts_what_is_kept(program: Program, pump: Sender) -> None:
    found = program.ask("getstatus")
    assert found == {
        "historyCount": 5,
        "ewonsCount": 1,
        "ewons": [
            {
                "id": 1,
                "name": "pump-1",
                "historyCount": 5,
                "firstHistoryDate": _date(NOW - 2 * MINUTE),
                "lastHistoryDate": _date(NOW - MINUTE),
            }
        ],
    }


def test_getewons_lists_devices(program: Program, pump: Sender) -> None:
    device = {"id": 1, "name": "pump-1", "lastSynchroDate": _date(NOW), "timeZone": "Etc/UTC"}
    assert program.ask("getewons") == {"success": True, "ewons": [device]}


@pytest.mark.parametrize("named", [{"id": 1}, {"name": "pump-1"}])
def test_getewon_tells_of_tags_and_their_latest_points(program: Program, pump: Sender, named: dict[str, Any]) -> None:
    found = program.ask("getewon", **named)
    tags = {tag.pop("name"): tag for tag in found.pop("tags")}
    assert found == {"success": True, "id": 1, "name": "pump-1", "lastSynchroDate": _date(NOW)}
    assert tags["temperature"] == {
        "id": tags["temperature"]["id"],
        "dataType": "Float",
        "description": "",
        "alarmHint": "",
        "value": 22.25,
        "quality": "uncertain",
        "ewonTagId": tags["temperature"]["id"],
    }
    shown = {name: (tag["dataType"], tag["value"], tag["quality"]) for name, tag in tags.items()}
    assert shown["starts"] == ("Int", 7, "good")
    assert shown["running"] == ("Bool", True, "good")
    assert shown["state"] == ("String", "idle", "good")


def test_the_latest_point_is_that_of_the_latest_time_wherever_it_lies(program: Program, pump: Sender) -> None:
    def starts() -> Any:
        return {tag["name"]: tag["value"] for tag in program.ask("getewon", id=1)["tags"]}["starts"]

    pump.send([point(9, NOW - 3 * MINUTE, "starts")])
    assert starts() == 7, "what came last is older"
    pump.send([point(11, NOW - MINUTE / 2, "starts"), point("busy", NOW, "state")])
    pump.send([point(8, NOW - 4 * MINUTE, "starts"), point(20.0, NOW - MINUTE / 3, "temperature")])
    assert starts() == 11, "though a batch that ends later than it has an older one"
    pump.send([point(12, NOW - MINUTE / 2, "starts")])
    assert starts() == 12, "of two at one time the one that came last"


def test_getdata_tells_points_by_time(program: Program, pump: Sender) -> None:
    found = program.ask("getdata")
    assert (found["success"], found["moreDataAvailable"]) == (True, False)
    assert found["ewons"][0]["tags"][0]["history"] == [
        {"date": _date(NOW - 2 * MINUTE), "value": 21.5, "quality": "good"},
        {"date": _date(NOW - MINUTE), "value": 22.25, "quality": "uncertain"},
    ]
    assert history(found) == {"temperature": [21.5, 22.25], "starts": [7], "running": [True], "state": ["idle"]}


def test_getdata_narrows_by_device_tag_and_time(program: Program, pump: Sender, processor: ProcessorServices) -> None:
    other = Sender(processor, pump.actor.account_id, "pump-2")  # type: ignore[arg-type]  # a device's actor has one
    other.send([point(1, NOW, "temperature")])
    number = {device["name"]: device["id"] for device in program.ask("getewons")["ewons"]}["pump-2"]
    assert history(program.ask("getdata", ewonId=number)) == {"temperature": [1]}
    tag = program.ask("getewon", id=1)["tags"][0]["id"]
    assert history(program.ask("getdata", ewonId=1, tagId=tag)) == {"temperature": [21.5, 22.25]}
    between: dict[str, Any] = {"from": _date(NOW - 2 * MINUTE), "to": _date(NOW - 2 * MINUTE)}
    assert history(program.ask("getdata", **between)) == {"temperature": [21.5]}, "both ends count"
    ever: dict[str, Any] = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59.999999Z"}
    assert history(program.ask("getdata", ewonId=number, **ever)) == {"temperature": [1]}
    naive = {"from": _date(NOW - MINUTE).rstrip("Z"), "ewonId": 1, "tagId": tag}
    assert history(program.ask("getdata", **naive)) == {"temperature": [22.25]}, "a time without an offset is UTC"


def test_getdata_limits_each_tag_and_says_that_there_is_more(program: Program, pump: Sender) -> None:
    found = program.ask("getdata", limit=1)
    assert history(found) == {"temperature": [21.5], "starts": [7], "running": [True], "state": ["idle"]}
    assert found["moreDataAvailable"] is True
    assert program.ask("getdata", limit=2)["moreDataAvailable"] is False


def test_getdata_with_full_config_lists_what_has_no_points_too(program: Program, pump: Sender) -> None:
    later: dict[str, Any] = {"from": _date(NOW + MINUTE)}
    assert program.ask("getdata", **later)["ewons"] == []
    found = program.ask("getdata", fullConfig="True", **later)["ewons"][0]["tags"]
    assert (found[0]["name"], found[0]["history"]) == ("temperature", [])
    assert len(found) == 4
    assert found[0]["value"] == 22.25, "the latest there is"


def test_getdata_is_bounded_over_all_tags(program: Program, pump: Sender) -> None:
    for tag in ("a", "b"):
        pump.send([point(place, NOW - place * MINUTE, tag) for place in range(3000)])
    found = program.ask("getdata")
    assert found["moreDataAvailable"] is True
    assert sum(len(values) for values in history(found).values()) == 5000
    found = program.ask("getdata", limit=2)
    assert {name: len(values) for name, values in history(found).items()} == {
        "a": 2,
        "b": 2,
        "temperature": 2,
        "starts": 1,
        "running": 1,
        "state": 1,
    }


def test_syncdata_goes_on_where_the_transaction_before_it_ended(program: Program, pump: Sender) -> None:
    first = program.ask("syncdata", createTransaction="true")
    assert history(first)["temperature"] == [21.5, 22.25]
    assert first["moreDataAvailable"] is False
    assert isinstance(first["transactionId"], str)
    pump.send([point(20.0, NOW - 9 * MINUTE, "temperature")])
    second = program.ask("syncdata", createTransaction="1", lastTransactionId=first["transactionId"])
    assert history(second) == {"temperature": [20.0]}
    assert second["ewons"][0]["tags"][0]["value"] == 22.25, "of the latest point, not of the one that came last"
    assert program.ask("syncdata", lastTransactionId=second["transactionId"])["ewons"] == []


def test_syncdata_without_a_transaction_gives_no_number(program: Program, pump: Sender) -> None:
    assert "transactionId" not in program.ask("syncdata")
    assert "transactionId" not in program.ask("syncdata", createTransaction="false", lastTransactionId="")


def test_parameters_have_names_in_any_case_and_unknown_ones_are_ignored(program: Program, pump: Sender) -> None:
    found = program.ask("syncdata", CREATETRANSACTION="True", EwonIDs="1", foo="bar")
    assert "transactionId" in found
    assert program.ask("getewon", ID=1)["name"] == "pump-1"


def test_what_cannot_be_taken_is_400(program: Program, pump: Sender) -> None:
    for service, parameters in UNFIT:
        found = program.ask(service, 400, **parameters)
        assert (found["success"], found["code"]) == (False, 400), service
        assert found["message"]
    assert history(program.ask("getdata"))["temperature"] == [21.5, 22.25], "and deletes nothing"


def test_what_is_not_there_is_404(program: Program, pump: Sender) -> None:
    for service, parameters, message in ABSENT:
        assert program.ask(service, 404, **parameters) == {"success": False, "code": 404, "message": message}


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


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ({"all": "true"}, {}),
        ({"ewonId": 1}, {}),
        ({"to": "before"}, {"temperature": [22.25], "starts": [7], "running": [True], "state": ["idle"]}),
        ({"tagId": "temperature"}, {"starts": [7], "running": [True], "state": ["idle"]}),
        ({"from": "after", "all": "true"}, {"temperature": [21.5]}),
    ],
)
def test_delete_hides_at_once_and_is_carried_out(
    program: Program,
    pump: Sender,
    processor_worker: ProcessorServices,
    parameters: dict[str, Any],
    left: dict[str, Any],
) -> None:
    temperature = program.ask("getewon", id=1)["tags"][0]["id"]
    words = {"before": _date(NOW - 2 * MINUTE), "after": _date(NOW - MINUTE), "temperature": temperature}
    assert program.ask("delete", **{name: words.get(value, value) for name, value in parameters.items()}) == {
        "success": True
    }
    count = sum(len(values) for values in left.values())
    for _ in range(2):
        assert history(program.ask("getdata")) == left
        assert program.ask("getstatus")["historyCount"] == count
        assert sum("value" in tag for tag in program.ask("getewon", id=1)["tags"]) == len(left)
        carry_out(processor_worker)
    assert history(program.ask("syncdata")) == left


def test_getstatus_tells_no_times_of_what_is_deleted(program: Program, pump: Sender) -> None:
    program.ask("delete", to=_date(NOW - 2 * MINUTE))
    device = program.ask("getstatus")["ewons"][0]
    assert (device["historyCount"], device["firstHistoryDate"]) == (4, _date(NOW - MINUTE))
    program.ask("delete", all="True")
    assert program.ask("getstatus")["ewons"] == [{"id": 1, "name": "pump-1", "historyCount": 0}]


def test_delete_of_a_transaction_takes_what_was_sent_and_no_more(program: Program, pump: Sender) -> None:
    sent = program.ask("syncdata", createTransaction="true")["transactionId"]
    pump.send([point(5, NOW - 9 * MINUTE, "starts")])
    program.ask("delete", transactionId=sent)
    assert history(program.ask("getdata")) == {"starts": [5]}


def test_clean_forgets_transactions_and_deletes_nothing(program: Program, pump: Sender) -> None:
    sent = program.ask("syncdata", createTransaction="true")["transactionId"]
    assert program.ask("clean", ewonId=1) == {"success": True}
    assert program.ask("syncdata", 400, lastTransactionId=sent)["code"] == 400
    assert program.ask("getstatus")["historyCount"] == 5


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


def test_too_many_requests_are_told_in_the_same_form(program: Program, pump: Sender, processor: ProcessorServices) -> None:
    limited = create_processor_app(replace(processor, settings=replace(processor.settings, rate_limit="3/minute")))
    http = limited.test_client()
    answers = [http.get("/dmweb/getstatus", query_string=program.credentials) for _ in range(7)]
    assert {answer.status_code for answer in answers} == {200, 429}, "fewer than three in either of two windows"
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json is not None
    assert (refused.json["success"], refused.json["code"], "Retry-After" in refused.headers) == (False, 429, True)


def test_a_program_is_not_refused_for_what_another_customers_does_from_the_same_address(
    processor: ProcessorServices, log_account: UUID
) -> None:
    limited = create_processor_app(replace(processor, settings=replace(processor.settings, rate_limit="3/day")))
    first, other = reader_token(processor, log_account), reader_token(processor, make_log_account(processor))

    def asked(token: str) -> int:
        return limited.test_client().get("/dmweb/getewons", query_string={"t2mtoken": token}).status_code

    assert [asked(first) for _ in range(4)] == [200, 200, 200, 429]
    assert asked(other) == 200
    assert [asked(f"{first}x") for _ in range(4)] == [401, 401, 401, 429], "whoever guesses is limited by address"
    assert asked(other) == 200


def test_a_store_that_is_away_is_told_in_the_same_form(
    program: Program, pump: Sender, log_app: Flask, processor: ProcessorServices
) -> None:
    away = replace(processor, objects=processor.objects.of_bucket("there-is-no-such-bucket"))
    log_app.extensions[EXTENSION] = replace(log_app.extensions[EXTENSION], services=away)
    for service in ("getewon", "getdata", "syncdata"):
        answer = program.http.get(f"/dmweb/{service}", query_string={**program.credentials, "id": 1})
        assert answer.json is not None
        assert (answer.status_code, answer.json["code"], "Retry-After" in answer.headers) == (503, 503, True)
    log_app.extensions[EXTENSION] = replace(log_app.extensions[EXTENSION], services=processor)
    assert program.ask("getstatus")["historyCount"] == 5, "which needs no object"


def test_a_form_that_is_too_large_or_encoded_is_told_in_the_same_form(program: Program) -> None:
    large = program.http.post("/dmweb/getstatus", data={**program.credentials, "filler": "x" * 70_000})
    assert (large.status_code, large.json and large.json["code"]) == (413, 413)
    packed = program.http.post("/dmweb/getstatus", data=program.credentials, headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json and packed.json["code"]) == (415, 415)


def _actions(processor: ProcessorServices) -> list[str]:
    with log_transaction(processor) as tx:
        return [event.action for event in tx.session.query(LogEvent).order_by(LogEvent.event_id)]


def _date(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
