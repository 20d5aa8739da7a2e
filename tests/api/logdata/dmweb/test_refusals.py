"""/dmweb: what cannot be taken, found or served is told in the form that programs know."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.app import create_processor_app
from cloudpriv.bootstrap import ProcessorServices
from tests.dmweb import Program, history
from tests.logdata import make_log_account, reader_token
from tests.senders import Sender

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


def test_too_many_requests_are_told_in_the_same_form(program: Program, pump: Sender, processor: ProcessorServices) -> None:
    limited = create_processor_app(replace(processor, settings=replace(processor.settings, rate_limit="3/day")))
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
