"""RADIUS accounting of rlm_rest as traffic records."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpriv.client import radius
from cloudpriv.client.radius import MalformedEvent

WIRE = Path(__file__).parents[3] / "../shared/wire/radius"
needs_wire = pytest.mark.skipif(not WIRE.is_dir(), reason="the recorded wire formats are not here")

RECEIVED = datetime(2025, 11, 22, 12, 0, tzinfo=UTC)
# Requests by number: of each four, JSON, form, JSON with raw values, and a body of the operator's own.
START, INTERIM, STOP, ODD_NAME, SWITCHED_ON = (1, 2, 3), (5, 6, 7), (9, 10, 11), (13, 14, 15), (17, 18, 19)


def wire_attributes(number: int) -> dict[str, object]:
    (file,) = WIRE.glob(f"{number:03}_*.http")
    head, _, body = file.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    (content_type,) = [line[14:] for line in head.decode().splitlines() if line.startswith("Content-Type: ")]
    return radius.attributes(body, content_type)


def wire_record(number: int) -> dict[str, object] | None:
    return radius.record(wire_attributes(number), RECEIVED)


def stop(**changes: object) -> dict[str, object]:
    """A Stop of one hour, with attributes changed (`_` for `-`) or, by None, left out."""
    attributes: dict[str, object] = {
        "User-Name": "cosy-0417@acme-water",
        "Acct-Status-Type": "Stop",
        "Acct-Session-Time": 3600,
        "Acct-Unique-Session-Id": "249c25920df23dcdddb6d51afb6d373c",
        "Event-Timestamp": "Nov  2 2018 11:00:00 UTC",
    }
    attributes |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: {"type": "any", "value": [value]} for name, value in attributes.items() if value is not None}


def converted(**changes: object) -> dict[str, object]:
    record = radius.record(stop(**changes))
    assert record is not None
    return record


@needs_wire
@pytest.mark.parametrize("number", START)
def test_a_recorded_start_opens_a_session_without_an_end(number: int) -> None:
    assert wire_record(number) == {
        "account": "acct-42",
        "device": "cosy-0417",
        "session": "249c25920df23dcdddb6d51afb6d373c",
        "source": "radius",
        "started_at": "2025-11-22T10:00:00Z",
        "bytes_from_device": 0,
        "bytes_to_device": 0,
        "protocol": "ppp",
        "remote_address": "203.0.113.77",
    }


@needs_wire
@pytest.mark.parametrize("number", INTERIM)
def test_a_recorded_interim_update_ends_the_session_as_far_as_is_known(number: int) -> None:
    record = wire_record(number)
    assert record is not None
    assert (record["started_at"], record["ended_at"]) == ("2025-11-22T10:00:00Z", "2025-11-22T10:10:00Z")
    assert (record["bytes_from_device"], record["bytes_to_device"]) == (123456, 7654321)


@needs_wire
@pytest.mark.parametrize("number", STOP)
def test_a_recorded_stop_has_the_64_bit_counters_the_end_and_its_reason(number: int) -> None:
    record = wire_record(number)
    assert record is not None
    assert (record["started_at"], record["ended_at"]) == ("2025-11-22T10:00:00Z", "2025-11-22T11:23:20Z")
    assert (record["bytes_from_device"], record["bytes_to_device"]) == (8589934496, 12884902888)
    assert record["end_reason"] == "User-Request"


@needs_wire
@pytest.mark.parametrize("numbers", list(zip(START, INTERIM, STOP, strict=True)))
def test_recorded_start_interim_update_and_stop_agree_when_the_session_began(numbers: tuple[int, ...]) -> None:
    records = [wire_record(number) or {} for number in numbers]
    assert {record["session"] for record in records} == {"249c25920df23dcdddb6d51afb6d373c"}
    assert {record["started_at"] for record in records} == {"2025-11-22T10:00:00Z"}


@needs_wire
@pytest.mark.parametrize("number", INTERIM)
def test_a_recorded_event_time_is_also_known_from_the_receipt_and_the_delay(number: int) -> None:
    told = wire_attributes(number)
    del told["Event-Timestamp"]
    # Its Acct-Delay-Time is two seconds.
    assert radius.record(told, datetime(2025, 11, 22, 10, 10, 2, tzinfo=UTC)) == wire_record(number)


@needs_wire
@pytest.mark.parametrize("number", ODD_NAME)
def test_a_recorded_odd_name_arrives_as_it_was_typed(number: int) -> None:
    record = wire_record(number)
    assert record is not None
    assert record["device"] == 'bad"quote\\back\nnl é/slash'
    assert "account" not in record
    assert record["started_at"] == "2025-11-22T12:00:00Z"


@needs_wire
@pytest.mark.parametrize("number", SWITCHED_ON)
def test_a_recorded_accounting_on_is_of_no_session(number: int) -> None:
    assert wire_record(number) is None


@needs_wire
@pytest.mark.parametrize("number", [4, 8, 12, 16, 20, 21, 22, 23, 24, 25])
def test_a_recorded_body_that_is_no_accounting_is_refused_without_repeating_it(number: int) -> None:
    with pytest.raises(MalformedEvent) as refusal:
        wire_record(number)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("user", "class_", "device", "account"),
    [
        ("cosy-0417@acme-water", None, "cosy-0417", "acme-water"),
        ("cosy-0417.acme-water", None, "cosy-0417", "acme-water"),
        ("cosy-0417.acme-water", "0x61636d652d7761746572", "cosy-0417", "acme-water"),
        ("cosy-0417@vpn", "0x61636d652d7761746572", "cosy-0417", "acme-water"),
        ("plc.hall-3", "0x61636d652d7761746572", "plc.hall-3", "acme-water"),
        ("cosy-0417", "0xff00", "cosy-0417", None),
        ("cosy-0417", "0x0001", "cosy-0417", None),
        ("cosy-0417", "0x61", "cosy-0417", "a"),
        ("kylmaskin-\u00c3\u00b6st@dairy", None, "kylmaskin-öst", "dairy"),
        ("kylmaskin-öst@dairy", None, "kylmaskin-öst", "dairy"),
    ],
)
def test_class_names_the_account_and_else_the_realm(user: str, class_: str | None, device: str, account: str | None) -> None:
    record = converted(User_Name=user, Class=class_)
    assert (record["device"], record.get("account")) == (device, account)


def test_a_session_without_user_name_belongs_to_the_calling_station() -> None:
    assert converted(User_Name=None, Calling_Station_Id="00-30-11-AA-BB-CC")["device"] == "00-30-11-AA-BB-CC"


def test_an_address_is_no_device() -> None:
    with pytest.raises(MalformedEvent, match="Calling-Station-Id"):
        converted(User_Name=None, Calling_Station_Id="203.0.113.7")


@pytest.mark.parametrize("delay", [None, 0, 30, 86_400])
def test_the_event_time_is_that_of_the_event_however_late_the_packet(delay: int | None) -> None:
    record = radius.record(stop(Acct_Delay_Time=delay), RECEIVED)
    assert record is not None
    assert (record["started_at"], record["ended_at"]) == ("2018-11-02T10:00:00Z", "2018-11-02T11:00:00Z")


@pytest.mark.parametrize(("delay", "started", "ended"), [(None, "11:00:00", "12:00:00"), (30, "10:59:30", "11:59:30")])
def test_without_event_time_the_delay_is_taken_off_the_time_of_receipt(delay: int | None, started: str, ended: str) -> None:
    record = radius.record(stop(Event_Timestamp=None, Acct_Delay_Time=delay), RECEIVED)
    assert record is not None
    assert (record["started_at"], record["ended_at"]) == (f"2025-11-22T{started}Z", f"2025-11-22T{ended}Z")


@pytest.mark.parametrize("text", ["Nov  2 2018 11:00:00 CET", "2018-11-02T11:00:00Z", "yesterday"])
def test_a_time_of_another_zone_or_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedEvent, match="Event-Timestamp"):
        converted(Event_Timestamp=text)


def test_a_raw_event_time_counts_seconds_since_1970() -> None:
    assert converted(Event_Timestamp=1541156400)["ended_at"] == "2018-11-02T11:00:00Z"


@settings(deadline=None)  # a busy machine is no fault of the code
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_both_forms_of_a_counter_give_the_same_number(octets: int, wraps: int) -> None:
    wide = converted(Acct_Input_Octets64=str(wraps * 2**32 + octets))
    narrow = converted(Acct_Input_Octets=octets, Acct_Input_Gigawords=wraps)
    assert wide["bytes_from_device"] == narrow["bytes_from_device"] == wraps * 2**32 + octets


def test_the_64_bit_counter_wins() -> None:
    assert converted(Acct_Output_Octets64="5000000000", Acct_Output_Octets=1)["bytes_to_device"] == 5_000_000_000


def test_counters_that_the_gateway_does_not_send_are_not_made_up() -> None:
    assert not {"bytes_from_device", "bytes_to_device"} & converted().keys()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("Acct_Input_Octets", -1),
        ("Acct_Input_Octets", 2**32),
        ("Acct_Input_Octets64", "18446744073709551616"),
        ("Acct_Input_Octets64", "1e3"),
        ("Acct_Input_Octets64", "²"),
        ("Acct_Input_Octets64", "0" * 5000),
        ("Acct_Input_Octets", True),
        ("Acct_Session_Time", 1.5),
        ("Acct_Unique_Session_Id", None),
        ("Acct_Unique_Session_Id", "\ud800"),
        ("Acct_Status_Type", None),
        ("Acct_Status_Type", "Tunnel-Start"),
        ("Event_Timestamp", None),
        ("Event_Timestamp", 10**15),
        ("Event_Timestamp", "Jan  1 0001 00:00:00 UTC"),
        ("Event_Timestamp", "Dec 31 1969 23:59:59 UTC"),
        ("User_Name", None),
        ("User_Name", {"deep": "er"}),
    ],
)
def test_what_cannot_be_read_is_named_by_attribute(attribute: str, value: object) -> None:
    with pytest.raises(MalformedEvent, match=attribute.replace("_", "-")):
        converted(**{attribute: value})


@pytest.mark.parametrize(("given_cause", "reason"), [(5, "Session-Timeout"), ("NAS-Reboot", "NAS-Reboot"), (99, None)])
def test_the_reason_of_the_end_is_a_name(given_cause: object, reason: str | None) -> None:
    assert converted(Acct_Terminate_Cause=given_cause).get("end_reason") == reason


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'"text"', b"1" * 5000])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedEvent, match="body"):
        radius.attributes(body, "application/json")


@pytest.mark.parametrize("body", [b"User-Name", b"User-Name=%FF", b"\xff=1"])
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedEvent, match="body"):
        radius.attributes(body, "application/x-www-form-urlencoded; charset=utf-8")


# A few characters that the conversion looks at, so that examples come quickly and often get far.
TEXTS = st.text("019xeé@.-\n\ud800", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "value"]), inner),
    max_leaves=4,
)
NAMES = st.sampled_from([*stop(), "Class", "Acct-Input-Octets64", "Calling-Station-Id"])


@settings(deadline=None)  # a busy machine is no fault of the code
@given(st.dictionaries(NAMES, JSON))
def test_any_attributes_give_a_record_or_a_refusal(changes: dict[str, object]) -> None:
    try:
        record = radius.record(stop() | changes)
    except MalformedEvent:
        return
    assert record is None or json.dumps(record, allow_nan=False, ensure_ascii=False).encode()
