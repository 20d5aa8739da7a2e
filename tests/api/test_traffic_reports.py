"""Traffic read back over HTTP: session by session, and added up."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from cloudpriv.controller.traffic_records import session_key
from tests.backend import Backend

STARTS = [
    "2026-01-31T23:30:00Z",
    "2026-01-31T23:30:00Z",
    "2026-02-01T00:00:00Z",
    "2025-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
]


@pytest.fixture
def path(backend: Backend) -> str:
    """The traffic of an account with five sessions, two of them starting at once, of two devices."""
    account = backend.open_account()
    devices = f"/v1/accounts/{account}/devices"
    names = ["d1", "d2"]
    for name in names:
        assert backend.post(devices, {"serial": name}).status_code == 201
    batch = [
        {"account": account, "device": names[number % 2], "session": str(number), "started_at": start,
         "bytes_from_device": 2**63 - 1, "bytes_to_device": number, "remote_address": "10.0.0.1"}
        for number, start in enumerate(STARTS)
    ]  # fmt: skip
    answer = backend.post("/v1/traffic", batch)
    assert answer.get_json() == {"accepted": 5, "merged": 0, "rejected": []}
    return f"/v1/accounts/{account}/traffic"


def sessions(backend: Backend, path: str) -> list[dict[str, Any]]:
    """The items of every page."""
    found: list[dict[str, Any]] = []
    following: str | None = path
    while following:
        answer = backend.get(following)
        assert answer.status_code == 200, answer.text
        assert bool(answer.get_json()["next_cursor"]) == bool(answer.headers.get("Link"))
        found += answer.get_json()["items"]
        link = answer.headers.get("Link")
        following = link.partition(">")[0].lstrip("<") if link else None
    return found


def test_a_session_is_shown_with_all_its_members(backend: Backend, path: str) -> None:
    device = backend.get(path.replace("traffic", "devices")).get_json()["items"][0]["id"]
    shown = sessions(backend, path)[0]
    assert shown.pop("received_at").endswith("Z")
    assert shown == {
        "session": session_key("", "2"),
        "device_id": device,
        "person_id": None,
        "started_at": "2026-02-01T00:00:00Z",
        "ended_at": None,
        "bytes_from_device": 2**63 - 1,
        "bytes_to_device": 2,
        "protocol": None,
        "remote_address": "10.0.0.1",
        "end_reason": None,
    }


def test_pages_hold_every_session_once_latest_first(backend: Backend, path: str) -> None:
    for limit in (1, 2, 3, 5, 500):
        order = [(each["started_at"], each["session"]) for each in sessions(backend, f"{path}?limit={limit}")]
        assert len(set(order)) == 5
        assert order == sorted(order, reverse=True)


def test_a_span_begins_at_from_and_ends_before_to(backend: Backend, path: str) -> None:
    spans = {
        "from=2026-01-31T23:30:00Z": {"0", "1", "2"},
        "to=2026-01-31T23:30:00Z": {"3", "4"},
        "from=2026-02-01T01:00:00%2B01:00": {"2"},
        "from=2025-12-31T23:59:59.999999Z&to=2026-02-01T00:00:00Z&limit=1": {"0", "1", "3"},
        "from=2026-02-01T00:00:00.000001Z": set(),
    }
    for span, expected in spans.items():
        keys = {session_key("", session) for session in expected}
        assert {each["session"] for each in sessions(backend, f"{path}?{span}")} == keys, span


def test_the_summary_adds_up_by_month_and_device(backend: Backend, path: str) -> None:
    devices = [each["id"] for each in backend.get(path.replace("traffic", "devices")).get_json()["items"]]
    most = 2**63 - 1
    months = backend.get(f"{path}/summary").get_json()["months"]
    assert [(each["month"], each["sessions"], each["bytes_to_device"]) for each in months] == [
        ("2026-02", 1, 2), ("2026-01", 2, 1), ("2025-12", 1, 3), ("1970-01", 1, 4),
    ]  # fmt: skip
    assert months[1] == {
        "month": "2026-01",
        "sessions": 2,
        "bytes_from_device": 2 * most,
        "bytes_to_device": 1,
        "devices": [
            {"device_id": devices[0], "sessions": 1, "bytes_from_device": most, "bytes_to_device": 0},
            {"device_id": devices[1], "sessions": 1, "bytes_from_device": most, "bytes_to_device": 1},
        ],
    }
    spanned = backend.get(f"{path}/summary?from=2026-01-31T23:59:59Z").get_json()["months"]
    assert [each["month"] for each in spanned] == ["2026-02"]


def test_both_reads_are_audited_and_not_cached(backend: Backend, path: str, owner_engine: Engine) -> None:
    for route in (path, f"{path}/summary"):
        assert backend.get(route).headers["Cache-Control"] == "no-store"
    query = text("SELECT account_id FROM audit_events WHERE action = 'traffic.read'")
    with owner_engine.connect() as connection:
        assert [str(found) for found in connection.scalars(query)] == [path.split("/")[3]] * 2


def test_another_services_traffic_is_not_there(backend: Backend, other_backend: Backend, path: str) -> None:
    for route in (path, f"{path}/summary", f"/v1/accounts/{uuid4()}/traffic"):
        assert other_backend.get(route).status_code == 404


def test_a_query_that_makes_no_sense_is_refused(backend: Backend, path: str) -> None:
    times = ("from=yesterday", "from=2026-01-01T00:00:00", "from=0001-01-01T00:00:00%2B14:00", "until=1")
    for query in (*times, "limit=0", "limit=501", "cursor=x", "cursor=" + "A" * 64):
        answer = backend.get(f"{path}?{query}")
        assert answer.status_code == 422, query
        assert answer.get_json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_times_at_the_ends_of_the_calendar_are_taken(backend: Backend, path: str) -> None:
    for span in ("from=0001-01-01T00:00:00Z", "to=9999-12-31T23:59:59Z"):
        assert len(sessions(backend, f"{path}?{span}")) == 5
        assert backend.get(f"{path}/summary?{span}").status_code == 200
