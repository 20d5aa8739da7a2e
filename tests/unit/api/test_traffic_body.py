"""The body of a batch: what is one, and how what is not a record is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.api import traffic_body
from cloudpriv.api.traffic_body import MAX_BYTES, MAX_RECORDS, read_array, read_lines
from cloudpriv.controller.traffic_records import Batch
from cloudpriv.platform.errors import TooLargeError, UnreadableError

GOOD = {"account": "acme", "device": "d", "session": "s", "started_at": "2026-01-01T00:00:00Z"}
# Texts that could mislead whoever counts quotation marks, looks for members, or splits lines.
TEXTS = ["x", "session", '"', '":"', "\\", "\u0000", "a\nb", "}\n{", "null", "\u00e9\U0001f600", "", "x" * 300]
VALUES: list[Any] = [
    *TEXTS,
    None,
    True,
    0,
    1.5,
    -1,
    2**63,
    10**30,
    [],
    {},
    [{}],
    {"session": "s"},
    "2026-01-01T00:00:00Z",
    "2026-01-01",
]
NAMES = [*GOOD, "source", "ended_at", "duration_s", "bytes_to_device", "protocol", "unknown", "\u0000"]
pairs = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=3)


@st.composite
def pieces(draw: st.DrawFn) -> str:
    """The text of one element: a good record with members added, which may stand there twice, or something else."""
    if draw(st.integers(0, 9)) == 0:
        return json.dumps(draw(st.sampled_from(VALUES)))
    members = [*draw(st.sampled_from([GOOD.items(), []])), *draw(pairs)]
    encode = json.JSONEncoder(ensure_ascii=draw(st.booleans())).encode
    return "{" + ",".join(f"{encode(name)}:{encode(value)}" for name, value in members) + "}"


def outcome(batch: Batch) -> tuple[Any, ...]:
    """What was read, whichever way."""
    return list(batch.records), list(batch.indexes), batch.rejected


@given(st.lists(pieces(), max_size=5))
def test_the_quick_way_and_the_exact_way_read_the_same(elements: list[str]) -> None:
    exactly = outcome(traffic_body._one_by_one([each.encode() for each in elements]))
    assert outcome(read_array(f"[{', '.join(elements)}]".encode())) == exactly
    assert outcome(read_lines("\n".join(elements).encode())) == exactly
    assert outcome(read_lines(("\r\n\n".join(elements) + "\n").encode())) == exactly


@given(st.lists(pieces(), max_size=5))
def test_every_record_is_read_or_rejected(elements: list[str]) -> None:
    batch = read_array(f"[{','.join(elements)}]".encode())
    rejected = [each.index for each in batch.rejected]
    assert sorted([*batch.indexes, *rejected]) == list(range(len(elements)))


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ('"bytes_to_device":1,"bytes_to_device":2', "bytes_to_device"),
        ('"bytes_to_device":1,"bytes_to_devic\\u0065":2', "bytes_to_device"),
        ('"ended_at":"2026-01-01T00:00:00Z","ended_at":null', "ended_at"),
        ('"bytes_to_device":"1"', "bytes_to_device"),
        ('"bytes_to_device":true', "bytes_to_device"),
        ('"bytes_to_device":1.0', "bytes_to_device"),
        ('"bytes_to_device":9223372036854775808', "bytes_to_device"),
        ('"duration_s":1e400', "duration_s"),
        ('"duration_s":' + "9" * 5000, "duration_s"),
        ('"ended_at":"2026-01-01T00:00:00"', "ended_at"),
        ('"ended_at":1767225600', "ended_at"),
        ('"protocol":"\\u0000"', "protocol"),
        ('"protocol":""', "protocol"),
        ('"protocol":{"tcp":6}', "protocol"),
        ('"canary":1', "member"),
        ('"session":"' + "x" * 201 + '"', "session"),
    ],
)
def test_a_malformed_record_is_named_by_its_index_and_member(members: str, named: str) -> None:
    good = json.dumps(GOOD)
    bad = good.replace('"session": "s"', members) if members.startswith('"session"') else good[:-1] + "," + members + "}"
    batch = read_array(f"[{good},{bad}]".encode())
    assert [(each.index, each.code) for each in batch.rejected] == [(1, "malformed")]
    assert named in batch.rejected[0].detail
    assert "canary" not in batch.rejected[0].detail
    assert list(batch.indexes) == [0]


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{}", b"null", b'"[]"', b"[", b"[{]", b"[{},]", b"[] []", b"[NaN]", b"\xef\xbb\xbf[]", b"[1,\x00]",
        b'[{"session":"\xff"}]', b'["a\nb"]', b'["\\ud800"]', b"[" * 200_000, b'[{"a":' * 100_000, "[]".encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_no_json_array_cannot_be_read(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_array(body)


def test_lines_that_are_no_json_are_named_one_by_one() -> None:
    good = json.dumps(GOOD).encode()
    lines = [
        good,
        b'{"session":"\\ud800"}',
        b"\xff",
        good + good,
        b"[" * 100_000,
        b"1",
        b"  " + good + b"\r",
        b"\xef\xbb\xbf" + good,
    ]
    batch = read_lines(b"\n\n".join(lines))
    assert list(batch.indexes) == [0, 6]
    assert [each.index for each in batch.rejected] == [1, 2, 3, 4, 5, 7]
    assert {each.code for each in batch.rejected} == {"malformed"}


def test_a_record_over_two_lines_is_not_one_line() -> None:
    batch = read_lines(json.dumps(GOOD, indent=1).encode())
    assert len(batch.records) == 0
    assert len(batch.rejected) == 6


def test_an_empty_body_of_lines_and_an_empty_array_hold_no_records() -> None:
    for batch in (read_lines(b""), read_lines(b"\n\r\n"), read_array(b"[]"), read_array(b" [ ] ")):
        assert outcome(batch) == ([], [], [])


def test_as_many_records_as_allowed_are_taken_and_one_more_is_too_large() -> None:
    line = json.dumps(GOOD)
    full = [line] * MAX_RECORDS
    assert len(read_array(f"[{','.join(full)}]".encode()).records) == MAX_RECORDS
    assert len(read_lines("\n".join([*full, ""]).encode()).records) == MAX_RECORDS
    for over in ([*full, line], [*full, "1"]):
        with pytest.raises(TooLargeError):
            read_array(f"[{','.join(over)}]".encode())
        with pytest.raises(TooLargeError):
            read_lines("\n".join(over).encode())


def test_more_bytes_or_parts_than_allowed_are_too_large() -> None:
    padding = b" " * (MAX_BYTES - 2)
    assert len(read_array(b"[" + padding + b"]").records) == 0
    for body in (b"[" + padding + b" ]", b"[" + b"1," * 4_000_000 + b"1]", b"\n" * 4_000_000):
        with pytest.raises(TooLargeError):
            read_array(body) if body.startswith(b"[") else read_lines(body)
