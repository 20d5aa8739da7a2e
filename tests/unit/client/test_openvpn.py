"""OpenVPN's script environments and status files as traffic records."""

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpriv.client import openvpn
from cloudpriv.client.openvpn import MalformedEvent, StatusVersion

WIRE = Path(__file__).parents[3] / "../shared/wire/openvpn"
needs_wire = pytest.mark.skipif(not WIRE.is_dir(), reason="the recorded wire formats are not here")

CONNECT = {
    "common_name": "hvac-7001",
    "username": "noa@hotel-alba-mar",
    "trusted_ip": "198.51.100.11",
    "trusted_port": "56001",
    "proto_1": "udp6",
    "time_unix": "1795371588",
}
DISCONNECT = CONNECT | {"time_duration": "17", "bytes_received": "60686", "bytes_sent": "3691781"}

HEADER = (
    "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,Bytes Sent,"
    "Connected Since,Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher"
)
TIME = "TIME,2026-11-22 18:19:58,1795371598"


def status_line(name: str = "hvac-7001", address: str = "198.51.100.11:56001", received: str = "100") -> str:
    since = "2026-11-22 18:19:48,1795371588"
    return f"CLIENT_LIST,{name},{address},10.8.0.2,,{received},200,{since},noa@hotel-alba-mar,0,0,AES-256-GCM"


def wire_environment(name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (WIRE / name).read_text().splitlines())


@needs_wire
def test_a_recorded_connect_and_disconnect_are_the_same_session() -> None:
    connect = openvpn.connect_record(wire_environment("client-connect.1795364415.env"))
    disconnect = openvpn.disconnect_record(wire_environment("client-disconnect.1795364432.env"))
    assert connect == {
        "device": "cosy-0417",
        "account": "acct-42",
        "username": "cosy-user",
        "session": "cosy-0417 1795364415 10.99.0.2:42883",
        "source": "openvpn",
        "started_at": "2026-11-22T16:20:15Z",
        "remote_address": "10.99.0.2",
        "protocol": "udp",
    }
    end = {"ended_at": "2026-11-22T16:20:32Z", "bytes_from_device": 60686, "bytes_to_device": 3691781}
    assert disconnect == connect | end


@needs_wire
def test_every_recorded_script_environment_converts() -> None:
    connects = [openvpn.connect_record(wire_environment(file.name)) for file in WIRE.glob("client-connect.*")]
    ends = [openvpn.disconnect_record(wire_environment(file.name)) for file in WIRE.glob("client-disconnect.*")]
    assert len(connects) == len(ends) == 4
    assert {record["session"] for record in connects} == {record["session"] for record in ends}


@needs_wire
@pytest.mark.parametrize(("version", "connected"), [(1, "1795364539"), (2, "1795364415")])
def test_a_recorded_status_file_names_the_session_of_its_connect_script(version: StatusVersion, connected: str) -> None:
    lines = (WIRE / f"status-v{version}-live.log").read_text().splitlines()
    (record,) = openvpn.status_records(lines, version)
    connect = openvpn.connect_record(wire_environment(f"client-connect.{connected}.env"))
    assert record["session"] == connect["session"]
    assert record["started_at"] == connect["started_at"]


@needs_wire
def test_a_recorded_status_file_counts_up_to_its_own_time() -> None:
    (record,) = openvpn.status_records((WIRE / "status-v2-live.log").read_text().splitlines(), 2)
    assert record["ended_at"] == "2026-11-22T16:20:27Z"
    assert (record["bytes_from_device"], record["bytes_to_device"]) == (60549, 3691667)
    assert (record["account"], record["username"]) == ("acct-42", "cosy-user")


def test_a_client_with_ipv6_is_one_session_in_script_and_status() -> None:
    connect = CONNECT | {"trusted_ip6": "2001:db8:3::1"}
    del connect["trusted_ip"]
    before_2_7, since_2_7 = "2001:db8:3::1", "udp6:[2001:db8:3::1]:56001"
    lines = [TIME, HEADER, status_line(address=before_2_7), status_line(address=since_2_7)]
    sessions = {record["session"] for record in openvpn.status_records(lines, 2)}
    assert sessions == {openvpn.connect_record(connect)["session"]} == {"hvac-7001 1795371588 2001:db8:3::1"}


@pytest.mark.parametrize("address", ["198.51.100.11:56001", "udp4:198.51.100.11:56001", "tcp4-server:198.51.100.11:56001"])
def test_an_ipv4_client_is_one_session_in_every_version_of_openvpn(address: str) -> None:
    (record,) = openvpn.status_records([TIME, HEADER, status_line(address=address)], 2)
    assert record["session"] == openvpn.connect_record(CONNECT)["session"]


def test_tabs_separate_a_status_file_of_version_3() -> None:
    lines = [TIME, HEADER, status_line()]
    tabbed = [line.replace(",", "\t") for line in lines]
    assert list(openvpn.status_records(tabbed, 3)) == list(openvpn.status_records(lines, 2))


def test_a_comma_in_a_name_is_safe_in_version_3_and_refused_in_version_2() -> None:
    lines = [TIME, HEADER, status_line(name="a,b")]
    with pytest.raises(MalformedEvent, match="13 fields where its header names 12"):
        list(openvpn.status_records(lines, 2))
    tabbed = [line.replace(",", "\t").replace("a\tb", "a,b") for line in lines]
    assert [record["device"] for record in openvpn.status_records(tabbed, 3)] == ["a,b"]


@pytest.mark.parametrize("since", ["2026-11-22 18:19:48", "Sun Nov 22 18:19:48 2026"])
def test_text_times_of_version_1_are_read_as_utc(since: str) -> None:
    lines = [
        "OpenVPN CLIENT LIST",
        "Updated,Sun Nov 22 18:19:58 2026",
        "Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since",
        f"hvac-7001,198.51.100.11:56001,100,200,{since}",
        "ROUTING TABLE",
        "Virtual Address,Common Name,Real Address,Last Ref",
        f"10.8.0.2,hvac-7001,198.51.100.11:56001,{since}",
        "END",
    ]
    (record,) = openvpn.status_records(lines, 1)
    assert record == {
        "device": "hvac-7001",
        "session": openvpn.connect_record(CONNECT)["session"],
        "source": "openvpn",
        "started_at": "2026-11-22T18:19:48Z",
        "ended_at": "2026-11-22T18:19:58Z",
        "remote_address": "198.51.100.11",
        "bytes_from_device": 100,
        "bytes_to_device": 200,
    }


def test_a_bad_row_of_a_status_file_does_not_stop_those_after_it() -> None:
    rows = [
        status_line(name="UNDEF"),
        status_line(),
        status_line(received="-1"),
        status_line(address="nowhere"),
    ]
    records = openvpn.status_records([TIME, HEADER, *rows, status_line(name="last")], 2)
    seen: list[object] = []
    for _ in range(len(rows) + 1):
        try:
            seen += [record["device"] for record in islice(records, 1)]
        except MalformedEvent as fault:
            seen.append(type(fault))
    assert seen == [MalformedEvent, "hvac-7001", MalformedEvent, MalformedEvent, "last"]
    assert next(records, None) is None


def test_client_rows_without_a_header_are_refused() -> None:
    with pytest.raises(MalformedEvent, match="header"):
        list(openvpn.status_records([TIME, status_line()], 2))


def test_a_status_file_has_one_of_three_versions() -> None:
    with pytest.raises(ValueError, match="version 1, 2 or 3"):
        openvpn.status_records([], 4)  # type: ignore[arg-type] # what a caller without types could pass


def test_the_time_in_seconds_wins_over_the_text_of_the_servers_zone() -> None:
    line = status_line().replace("18:19:48", "19:19:48")
    (record,) = openvpn.status_records([TIME, HEADER, line], 2)
    assert record["started_at"] == "2026-11-22T18:19:48Z"


def test_the_realm_of_a_login_begins_at_its_last_at_sign() -> None:
    record = openvpn.connect_record(CONNECT | {"username": "noa@example.com@hotel-alba-mar"})
    assert (record["username"], record["account"]) == ("noa@example.com", "hotel-alba-mar")


def test_a_name_that_the_server_does_not_know_is_left_out() -> None:
    line = status_line().replace("noa@hotel-alba-mar", "UNDEF")
    (record,) = openvpn.status_records([TIME, HEADER, line], 2)
    assert not {"username", "account"} & record.keys()


@pytest.mark.parametrize("username", ["noa", "@hotel", "noa@"])
def test_a_login_without_a_realm_names_no_account(username: str) -> None:
    record = openvpn.connect_record(CONNECT | {"username": username})
    assert record["username"] == username
    assert "account" not in record


def test_an_ipv4_address_inside_ipv6_is_told_as_ipv4() -> None:
    record = openvpn.connect_record(CONNECT | {"trusted_ip": "::ffff:198.51.100.11"})
    assert record == openvpn.connect_record(CONNECT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("common_name", ""),
        ("common_name", "\udcff"),
        ("time_unix", "soon"),
        ("time_unix", "253402300800"),
        ("time_duration", "-1"),
        ("bytes_received", "18446744073709551616"),
        ("bytes_sent", ""),
    ],
)
def test_what_cannot_be_read_is_named_by_its_variable(name: str, value: str) -> None:
    with pytest.raises(MalformedEvent, match=name):
        openvpn.disconnect_record(DISCONNECT | {name: value})


def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(MalformedEvent) as refusal:
        openvpn.connect_record(CONNECT | {"trusted_ip": "gateway.example"})
    assert "gateway" not in str(refusal.value)


def test_a_session_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(MalformedEvent, match="9999"):
        openvpn.disconnect_record(DISCONNECT | {"time_unix": "253402300799"})


@settings(deadline=None)  # a busy machine is no fault of the code
@given(st.lists(st.sampled_from([TIME, HEADER, status_line(), "CLIENT_LIST", "TIME", "HEADER", ",", "END", ""])))
def test_any_status_file_gives_one_result_for_each_client_row(lines: list[str]) -> None:
    records = openvpn.status_records(lines, 2)
    results = 0
    while True:
        try:
            next(records)
        except StopIteration:
            break
        except MalformedEvent:
            pass
        results += 1
    assert results == sum(line.startswith("CLIENT_LIST") for line in lines)
