"""The processor's record over HTTP: the terms in the reader's language, and what is held and done of this customer alone."""

from datetime import UTC, datetime, timedelta

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.policy.register import load
from tests.logdata import Caller, make_log_account
from tests.retained import put_points

RECORD = "/v1/logdata/record"
NOW = datetime.now(UTC)


def test_the_record_tells_what_is_held_instructed_and_done(reader: Caller, device: Caller,
                                                           processor: ProcessorServices) -> None:  # fmt: skip
    times = [(NOW - timedelta(days=days)).isoformat() for days in (3, 2, 1)]
    device.post("/v1/logdata/points", [{"tag": "level", "time": time, "value": 1} for time in times])
    put_points(processor, make_log_account(processor), "pump-9", "flow", [NOW], now=NOW)
    until = (NOW + timedelta(days=1)).isoformat()
    reader.post(
        "/v1/logdata/instructions", {"kind": "support_read", "until": until, "device": "pump-1", "note": "ticket 4711"}
    )
    reader.post("/v1/logdata/instructions", {"kind": "export", "format": "csv"})
    reader.send("PUT", "/v1/logdata/retention", {"rules": [{"period": "P5Y"}]}, headers={"If-Match": '"0"'})
    told = reader.get(RECORD).get_json()["account"]
    assert (told["account_id"], told["devices"], told["tags"], told["points"]) == (str(reader.account_id), 1, 1, 3)
    assert told["bytes"] > 0
    assert told["first_point_at"] < told["last_point_at"] < told["as_of"]
    assert told["since"] < until
    assert told["tokens"] == {"device": 1, "reader": 1}
    assert told["instructions_given"] == {"export": 1, "support_read": 1}
    [running] = told["instructions_running"]
    assert (running["device"], running["note"], running["status"]) == ("pump-1", "ticket 4711", "running")
    assert [rule["period"] for rule in told["retention"]] == ["P5Y"]
    assert (told["exports"], told["deletions"], told["requests"]) == ({"pending": 1}, {}, {})


@pytest.mark.parametrize(("wanted", "language"), [("sv-SE, en;q=0.5", "sv"), ("de", "en")])
def test_the_terms_come_in_the_language_that_fits_best(reader: Caller, wanted: str, language: str) -> None:
    answer = reader.get(RECORD, headers={"Accept-Language": wanted})
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == (language, "Accept-Language")
    document = answer.get_json()
    del document["account"]
    assert document == load().as_processor_record(language)


def test_owner_and_reader_see_the_record_and_nobody_else(
    reader: Caller, owner: Caller, device: Caller, vendor: Caller
) -> None:
    assert [caller.get(RECORD).status_code for caller in (reader, owner, device, vendor)] == [200, 200, 403, 403]


def test_that_it_was_read_stands_in_the_log(reader: Caller) -> None:
    reader.get(RECORD)
    rows = reader.get("/v1/logdata/access-log").get_json()["items"]
    assert "record.read" in [row["action"] for row in rows]
