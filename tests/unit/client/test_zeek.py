"""Zeek's conn.log in both of its forms, with the device on either side."""

import json
from ipaddress import ip_network

import pytest

from cloudpriv.client.rows import Rejection
from cloudpriv.client.zeek import rows

FIELDS = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "duration"]
FIELDS += ["orig_bytes", "resp_bytes", "conn_state"]
# fmt: off
OUTWARD = ["1300475167.096535", "CHhAvVGS1DHFjwGM9", "10.0.0.7", "5353", "203.0.113.9", "443", "tcp", "ssl",
           "1.5", "20", "300", "SF"]
INWARD = ["1300475168.1", "CInward", "203.0.113.9", "40000", "10.0.0.7", "502", "tcp", "-",
          "2.0", "7", "8", "S1"]
SHORT = ["1300475169", "CShort", "10.0.0.7", "1", "224.0.0.1", "2", "udp", "-", "-", "-", "-", "S0"]
# fmt: on
RECORD = {
    "source": "zeek",
    "session": "CHhAvVGS1DHFjwGM9",
    "device": "10.0.0.7",
    "remote_address": "203.0.113.9",
    "started_at": "2011-03-18T19:06:07.096535Z",
    "duration_s": 1.5,
    "bytes_from_device": 20,
    "bytes_to_device": 300,
    "protocol": "tcp",
    "end_reason": "SF",
}


def log(*entries: list[str], separator: str = "\t", unset: str = "-") -> list[str]:
    """A log with its header, as Zeek writes it."""
    head = [
        "#separator " + "".join(f"\\x{ord(character):02x}" for character in separator),
        separator.join(["#set_separator", ","]),
        separator.join(["#unset_field", unset]),
        separator.join(["#path", "conn"]),
        separator.join(["#fields", *FIELDS]),
        separator.join(["#types", "time", "string"]),
    ]
    body = [separator.join(unset if cell == "-" else cell for cell in entry) for entry in entries]
    return [line + "\n" for line in [*head, *body, separator.join(["#close", "2011-03-18-20-00-00"])]]


def test_an_entry_becomes_a_record() -> None:
    assert list(rows(log(OUTWARD))) == [RECORD]


def test_separator_and_unset_mark_are_those_of_the_header() -> None:
    assert list(rows(log(OUTWARD, separator="|", unset="(none)"))) == [RECORD]


def test_json_lines_give_the_same_record_without_rounding_times() -> None:
    numbers = {
        "ts": 1300475167.096535,
        "duration": 1.5,
        "orig_bytes": 20,
        "resp_bytes": 300,
        "id.orig_p": 5353,
    }
    line = json.dumps(dict(zip(FIELDS, OUTWARD, strict=True)) | numbers | {"local_orig": True, "tunnel_parents": []})
    assert list(rows([line])) == [RECORD]
    assert list(rows([line.replace("1300475167.096535", '"2011-03-18T19:06:07.096535Z"')])) == [RECORD]


def test_a_connection_to_the_device_changes_sides() -> None:
    (row,) = rows(log(INWARD))
    assert isinstance(row, dict)
    assert (row["device"], row["remote_address"]) == ("10.0.0.7", "203.0.113.9")
    assert (row["bytes_from_device"], row["bytes_to_device"]) == (8, 7)


def test_devices_are_those_of_the_given_networks() -> None:
    (row,) = rows(log(OUTWARD), [ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")])
    assert isinstance(row, dict)
    assert row["device"] == "203.0.113.9"


def test_a_connection_without_a_device_is_refused() -> None:
    assert list(rows(log(OUTWARD), [ip_network("192.0.2.0/24")])) == [
        Rejection("malformed", "neither end is in a network of devices")
    ]


def test_unset_fields_are_left_out() -> None:
    (row,) = rows(log(SHORT))
    assert isinstance(row, dict)
    assert not {"duration_s", "bytes_from_device", "bytes_to_device"} & row.keys()


@pytest.mark.parametrize(
    ("place", "text", "reason"),
    [
        (0, "-", "ts is missing"),
        (1, "-", "uid is missing"),
        (0, "soon", "is not a Unix time in seconds"),
        (2, "router", "an address is not an IP address"),
        (9, "many", "is not a whole number"),
        (8, "long", "is not a number of seconds"),
    ],
)
def test_an_entry_that_cannot_be_converted_is_refused_in_its_place(place: int, text: str, reason: str) -> None:
    entry = [*OUTWARD[:place], text, *OUTWARD[place + 1 :]]
    first, refused, last = rows(log(OUTWARD, entry, OUTWARD))
    assert isinstance(refused, Rejection)
    assert refused.detail.endswith(reason)
    assert first == last == RECORD


def test_lines_that_are_no_entries_are_refused_and_comments_are_not_rows() -> None:
    lines = [*log(OUTWARD[:-1]), "{not json\n", '{"ts": 1}\n', "{" * 100_000 + "\n", "\n", "# a remark\n"]
    found = list(rows(lines))
    assert [type(row) for row in found] == [Rejection] * 4


def test_logs_of_two_days_in_one_file_follow_their_own_headers() -> None:
    other = log([OUTWARD[1], OUTWARD[0], *OUTWARD[2:]])
    other = [line.replace("ts\tuid", "uid\tts") for line in other]
    assert list(rows(log(OUTWARD) + other)) == [RECORD, RECORD]
