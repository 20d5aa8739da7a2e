"""Canonical JSON: one sequence of bytes for one meaning (RFC 8785)."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.audit.canonical import canonical

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
)


def test_the_example_of_the_rfc_has_its_bytes() -> None:
    value = {"string": '\u20ac$\u000f\nA\'B"\\\\"/', "literals": [None, True, False]}
    expected = '{"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical(value) == expected.encode()


def test_ids_and_times_are_texts_of_one_form() -> None:
    cet = timezone(timedelta(hours=1))
    at = datetime(2026, 6, 1, 13, tzinfo=cet)
    assert canonical({"b": at, "a": UUID(int=1)}) == (
        b'{"a":"00000000-0000-0000-0000-000000000001","b":"2026-06-01T12:00:00.000000Z"}'
    )
    assert canonical(at) == canonical(at.astimezone(UTC))


@given(VALUES)
def test_what_is_read_back_has_the_same_bytes(value: Any) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, -(2**53), {"é": 1}, {1: 2}, b"", {1}, "\ud800"])
def test_what_readers_would_take_differently_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical({"value": value} if not isinstance(value, dict) else value)
