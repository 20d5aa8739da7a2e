"""Instructions over HTTP: given, seen and withdrawn by the customer, and the one way in which the vendor reads log data."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.ids import new_id
from tests.logdata import Caller, carry_out, issuer, make_log_account, reader_token
from tests.points import send, sender

INSTRUCTIONS = "/v1/logdata/instructions"
DAY = timedelta(days=1)
DAYS = 12


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def ahead(days: float) -> str:
    return ago(-days)


def append(device: Caller, tag: str, *times: str) -> None:
    points = [{"tag": tag, "time": time, "value": place, "quality": "good"} for place, time in enumerate(times)]
    answer = device.post("/v1/logdata/points", points)
    assert answer.get_json() == {"accepted": len(times), "rejected": []}, answer.text


def give(reader: Caller, kind: str = "support_read", **more: Any) -> dict[str, Any]:
    body = {"kind": kind, **({"until": ahead(1)} if kind == "support_read" else {}), **more}
    answer = reader.post(INSTRUCTIONS, body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{INSTRUCTIONS}/{answer.get_json()['id']}"
    made: dict[str, Any] = answer.get_json()
    return made


def path_of(given: dict[str, Any]) -> str:
    return f"{INSTRUCTIONS}/{given['id']}/points"


def told(reader: Caller) -> list[dict[str, Any]]:
    """What the customer's access log has of the vendor."""
    rows = reader.get("/v1/logdata/access-log?limit=500").get_json()["items"]
    return [row for row in rows if row["actor_kind"] == "client"]


@pytest.fixture
def points(device: Caller) -> Caller:
    """A device with points of two tags."""
    append(device, "level", ago(3), ago(2), ago(1))
    append(device, "flow", ago(2))
    return device


def test_support_reads_what_an_instruction_opens_and_the_customer_sees_it(
    points: Caller, reader: Caller, vendor: Caller
) -> None:
    given = give(reader, device="pump-1", tag="level", note="ticket 4711", **{"from": ago(2.5)})
    assert (given["status"], given["outcome"], given["format"]) == ("running", None, None)
    answer = vendor.get(path_of(given))
    assert answer.status_code == 200, answer.text
    shown = answer.get_json()["items"]
    assert [(point["device"], point["tag"], point["value"]) for point in shown] == [
        ("pump-1", "level", 1),
        ("pump-1", "level", 2),
    ]
    assert shown[0]["quality"] == "good"
    assert "unit" not in shown[0]
    [read] = told(reader)
    assert (read["action"], read["instruction_id"]) == ("points.read", given["id"])


def test_whatever_support_asks_for_it_sees_only_what_is_opened(points: Caller, reader: Caller, vendor: Caller) -> None:
    span = {"from": ago(2.5), "before": ago(1.5)}
    given = give(reader, device="pump-1", tag="level", **span)
    wide = [
        "", "?device=pump-1", "?tag=level", f"?from={ago(100)}", "?to=2100-01-01T00:00:00Z", "?device=pump-1&tag=level",
    ]  # fmt: skip
    for query in wide:
        found = vendor.get(path_of(given) + query.replace("+", "%2B")).get_json()
        assert [point["value"] for point in found["items"]] == [1], query
    for query in ("?tag=flow", "?device=pump-2", "?device=elsewhere", f"?from={ago(1)}", f"?to={ago(3)}"):
        answer = vendor.get(path_of(given) + query.replace("+", "%2B"))
        assert answer.get_json() == {"items": [], "next_cursor": None}, query
    assert {row["action"] for row in told(reader)} == {"points.read"}
    assert len(told(reader)) == 11


def test_support_reads_in_pages(points: Caller, reader: Caller, vendor: Caller) -> None:
    path, values = f"{path_of(give(reader))}?limit=1", []
    for _ in range(4):
        answer = vendor.get(path)
        [point] = answer.get_json()["items"]
        values.append((point["tag"], point["value"]))
        path = answer.headers.get("Link", "<>").split(">")[0][1:]
    assert sorted(values) == [("flow", 0), ("level", 0), ("level", 1), ("level", 2)]
    assert path == ""
    forged = vendor.get(f"{path_of(give(reader))}?cursor=AAAA")
    assert forged.status_code == 422


def refused(vendor: Caller, path: str) -> None:
    answer = vendor.get(path)
    assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/insufficient_scope"), answer.text
    assert "pump-1" not in answer.text


def refused_as_support(vendor: Caller, path: str) -> None:
    refused(vendor, path)
    assert vendor.get(path).get_json()["detail"] == "No running instruction of the customer allows this."


def test_without_a_running_instruction_support_is_refused_and_the_customer_sees_that(
    points: Caller, reader: Caller, vendor: Caller
) -> None:
    given = give(reader, device="pump-1")
    withdrawn = reader.send("DELETE", f"{INSTRUCTIONS}/{given['id']}", headers={"If-Match": '"1"'})
    assert withdrawn.status_code == 204, withdrawn.text
    refused_as_support(vendor, path_of(given))
    [attempt] = told(reader)
    assert (attempt["action"], attempt["account_id"]) == ("access.refused", str(reader.account_id))
    assert attempt["fields"] == [f"GET {INSTRUCTIONS}/<uuid:instruction_id>/points"]
    refused_as_support(vendor, path_of({"id": new_id()}))
    assert [row["account_id"] for row in told(reader)] == [str(reader.account_id), None], "who was meant is not known"


def test_an_attempt_is_told_to_whom_it_is_about_whomever_it_names(
    points: Caller, reader: Caller, log_app: Flask, stack: Stack, processor: ProcessorServices
) -> None:
    given, decoy = give(reader), make_log_account(processor)
    token = issuer(stack, processor).issue(new_id(), "talk2m", "accounts:read", processor.clock())
    path = f"{path_of(given)}?account_id={decoy}&account_id={new_id()}&account_id=nobody"
    answer = Caller(log_app, token, reader.account_id).get(path)
    assert (answer.status_code, "only by an instruction" in answer.get_json()["detail"]) == (403, True)
    [attempt] = told(reader)
    assert (attempt["account_id"], attempt["instruction_id"]) == (str(reader.account_id), given["id"])
    [other] = told(Caller(log_app, reader_token(processor, decoy), decoy))
    assert (other["account_id"], other["instruction_id"]) == (str(decoy), None)


@pytest.mark.parametrize("query", ["account_id=x", "limit=0", "cursor=AAAA", "from=yesterday"])
def test_support_without_a_running_instruction_is_refused_and_told_however_it_asks(
    points: Caller, reader: Caller, vendor: Caller, query: str
) -> None:
    given = give(reader)
    assert vendor.get(f"{path_of(given)}?{query}").status_code == 422
    assert told(reader) == []
    assert reader.send("DELETE", f"{INSTRUCTIONS}/{given['id']}", headers={"If-Match": '"1"'}).status_code == 204
    refused(vendor, f"{path_of(given)}?{query}")
    [attempt] = told(reader)
    assert (attempt["action"], attempt["instruction_id"]) == ("access.refused", given["id"])


def test_the_customer_sees_by_what_support_narrowed_a_read(points: Caller, reader: Caller, vendor: Caller) -> None:
    path = path_of(give(reader))
    assert vendor.get(f"{path}?device=pump-1&to=2100-01-01T00:00:00Z&limit=1").status_code == 200
    assert vendor.get(path).status_code == 200
    assert [row["fields"] for row in told(reader)] == [["device", "to"], []]


def test_the_last_page_of_support_reads_no_more_objects_than_the_first(
    reader: Caller, vendor: Caller, processor: ProcessorServices, log_account: UUID
) -> None:
    now = datetime.now(UTC)
    to = sender(processor, log_account, now=now)
    for days in range(DAYS):
        send(to, ("level", now - timedelta(days=DAYS - days), days))
    fetched: list[Any] = []
    hooks = processor.objects._s3.meta.events
    hooks.register("before-call.s3.GetObject", count := lambda **_: fetched.append(1))
    path, pages = f"{path_of(give(reader))}?limit=1", []
    while path:
        fetched.clear()
        answer = vendor.get(path)
        pages.append(len(fetched))
        path = answer.headers.get("Link", "<>").split(">")[0][1:]
    hooks.unregister("before-call.s3.GetObject", count)
    assert len(pages) == DAYS
    assert max(pages) <= 4


def test_an_instruction_ends_by_itself(points: Caller, reader: Caller, vendor: Caller, log_app: Flask, stack: Stack) -> None:
    given = give(reader)
    assert vendor.get(path_of(given)).status_code == 200
    run = log_app.extensions[EXTENSION]
    later = replace(run.services, clock=lambda: datetime.now(UTC) + timedelta(minutes=5) + DAY)
    log_app.extensions[EXTENSION] = replace(run, services=later)
    token = issuer(stack, later).issue(new_id(), "talk2m", "logdata:support", later.clock())
    refused(Caller(log_app, token, vendor.account_id), path_of(given))
    assert reader.get(f"{INSTRUCTIONS}/{given['id']}").get_json()["status"] == "over"


def test_no_other_token_reads_by_an_instruction(points: Caller, reader: Caller, owner: Caller, device: Caller) -> None:
    given = give(reader)
    for caller in (reader, owner, device):
        refused(caller, path_of(given))


def test_no_vendor_gives_sees_or_withdraws_an_instruction(points: Caller, reader: Caller, vendor: Caller) -> None:
    given = give(reader)
    one = f"{INSTRUCTIONS}/{given['id']}"
    body = {"kind": "support_read", "until": ahead(1)}
    for method, path, sent in (
        ("POST", INSTRUCTIONS, body),
        ("GET", INSTRUCTIONS, None),
        ("GET", one, None),
        ("DELETE", one, None),
    ):
        assert vendor.send(method, path, sent).status_code == 403
    assert {row["action"] for row in told(reader)} == {"access.refused"}
    assert reader.get(one).get_json()["status"] == "running"


def test_another_customer_sees_nothing_of_it(
    points: Caller, reader: Caller, log_app: Flask, processor: ProcessorServices
) -> None:
    given = give(reader)
    other = make_log_account(processor)
    stranger = Caller(log_app, reader_token(processor, other), other)
    assert stranger.get(INSTRUCTIONS).get_json()["items"] == []
    assert stranger.get(f"{INSTRUCTIONS}/{given['id']}").status_code == 404
    withdrawal = stranger.send("DELETE", f"{INSTRUCTIONS}/{given['id']}", headers={"If-Match": '"1"'})
    assert withdrawal.status_code == 404


def test_a_deletion_by_instruction_is_carried_out(
    points: Caller, reader: Caller, processor_worker: ProcessorServices
) -> None:
    given = give(reader, "delete", device="pump-1", tag="level", before=ago(1.5))
    assert (given["status"], given["outcome"]["status"]) == ("pending", "pending")
    carry_out(processor_worker)
    done = reader.get(f"{INSTRUCTIONS}/{given['id']}").get_json()
    assert (done["status"], done["outcome"]["points"]) == ("done", 2)
    assert done["outcome"]["done_at"] is not None
    again = reader.send("DELETE", f"{INSTRUCTIONS}/{given['id']}", headers={"If-Match": '"1"'})
    assert (again.status_code, again.get_json()["type"]) == (409, "/problems/conflict")


def test_instructions_are_listed_by_cursor_and_withdrawn_by_version(reader: Caller) -> None:
    made = [give(reader)["id"] for _ in range(3)]
    first = reader.get(f"{INSTRUCTIONS}?limit=2").get_json()
    rest = reader.get(f"{INSTRUCTIONS}?cursor={first['next_cursor']}").get_json()
    assert [each["id"] for each in first["items"] + rest["items"]] == made
    one = f"{INSTRUCTIONS}/{made[0]}"
    assert reader.get(one).headers["ETag"] == '"1"'
    assert reader.send("DELETE", one).status_code == 428
    assert reader.send("DELETE", one, headers={"If-Match": '"2"'}).status_code == 412
    assert reader.send("DELETE", one, headers={"If-Match": '"1"'}).status_code == 204
    again = reader.get(one)
    assert (again.headers["ETag"], again.get_json()["status"]) == ('"2"', "withdrawn")


def test_members_that_do_not_fit_are_pointed_at(reader: Caller) -> None:
    answer = reader.post(INSTRUCTIONS, {"kind": "support_read", "until": ahead(91), "device": "pump-9", "mood": "bad"})
    assert [fault["pointer"] for fault in answer.get_json()["errors"]] == ["/mood"]
    answer = reader.post(INSTRUCTIONS, {"kind": "support_read", "until": ahead(91)})
    assert [fault["pointer"] for fault in answer.get_json()["errors"]] == ["/until"]
    answer = reader.post(INSTRUCTIONS, {"kind": "read_all"})
    assert answer.status_code == 422


def test_support_of_another_service_is_refused(
    points: Caller, reader: Caller, log_app: Flask, stack: Stack, processor: ProcessorServices
) -> None:
    given = give(reader)
    token = issuer(stack, processor).issue(new_id(), "intesis", "logdata:support", processor.clock())
    refused(Caller(log_app, token, reader.account_id), path_of(given))
