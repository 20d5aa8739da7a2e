"""POST /v1/logdata/points."""

import json
from typing import Any

from tests.factories import NOW
from tests.logdata import Caller

URL = "/v1/logdata/points"


def point(**members: Any) -> dict[str, Any]:
    """A point that is taken."""
    return {"tag": "t", "time": "2026-01-01T12:00:00Z", "value": 1.5} | members


def test_points_come_as_array_object_and_lines(device: Caller) -> None:
    both = [point(), point(value="x", quality="good", unit="bar")]
    lines = "\n".join(map(json.dumps, both))
    for options in (
        {"json": both},
        {"json": {"points": both}},
        {"data": lines, "content_type": "application/x-ndjson"},
        {"data": lines.replace("\n", "\r\n\n") + "\n", "content_type": "application/x-ndjson"},
    ):
        answer = device.http.post(URL, headers={"Authorization": f"Bearer {device.token}"}, **options)
        assert (answer.status_code, answer.get_json()) == (200, {"accepted": 2, "rejected": []})
