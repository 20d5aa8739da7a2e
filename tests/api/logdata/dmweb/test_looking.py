"""/dmweb: what is kept, the latest points, and points by time, as programs for Talk2M ask for them."""

from typing import Any

import pytest

from cloudpriv.bootstrap import ProcessorServices
from tests.dmweb import MINUTE, Program, history, written
from tests.factories import NOW
from tests.senders import Sender, point


def test_getstatus_counts_what_is_kept(program: Program, pump: Sender) -> None:
    found = program.ask("getstatus")
    assert found == {
        "historyCount": 5,
        "ewonsCount": 1,
        "ewons": [
            {
                "id": 1,
                "name": "pump-1",
                "historyCount": 5,
                "firstHistoryDate": written(NOW - 2 * MINUTE),
                "lastHistoryDate": written(NOW - MINUTE),
            }
        ],
    }


def test_getewons_lists_devices(program: Program, pump: Sender) -> None:
    device = {"id": 1, "name": "pump-1", "lastSynchroDate": written(NOW), "timeZone": "Etc/UTC"}
    assert program.ask("getewons") == {"success": True, "ewons": [device]}


@pytest.mark.parametrize("named", [{"id": 1}, {"name": "pump-1"}])
def test_getewon_tells_of_tags_and_their_latest_points(program: Program, pump: Sender, named: dict[str, Any]) -> None:
    found = program.ask("getewon", **named)
    tags = {tag.pop("name"): tag for tag in found.pop("tags")}
    assert found == {"success": True, "id": 1, "name": "pump-1", "lastSynchroDate": written(NOW)}
    assert tags["temperature"] == {
        "id": tags["temperature"]["id"],
        "dataType": "Float",
        "description": "",
        "alarmHint": "",
        "value": 22.25,
        "quality": "uncertain",
        "ewonTagId": tags["temperature"]["id"],
    }
    shown = {name: (tag["dataType"], tag["value"], tag["quality"]) for name, tag in tags.items()}
    assert shown["starts"] == ("Int", 7, "good")
    assert shown["running"] == ("Bool", True, "good")
    assert shown["state"] == ("String", "idle", "good")


def test_the_latest_point_is_that_of_the_latest_time_wherever_it_lies(program: Program, pump: Sender) -> None:
    def starts() -> Any:
        return {tag["name"]: tag["value"] for tag in program.ask("getewon", id=1)["tags"]}["starts"]

    pump.send([point(9, NOW - 3 * MINUTE, "starts")])
    assert starts() == 7, "what came last is older"
    pump.send([point(11, NOW - MINUTE / 2, "starts"), point("busy", NOW, "state")])
    pump.send([point(8, NOW - 4 * MINUTE, "starts"), point(20.0, NOW - MINUTE / 3, "temperature")])
    assert starts() == 11, "though a batch that ends later than it has an older one"
    pump.send([point(12, NOW - MINUTE / 2, "starts")])
    assert starts() == 12, "of two at one time the one that came last"


def test_getdata_tells_points_by_time(program: Program, pump: Sender) -> None:
    found = program.ask("getdata")
    assert (found["success"], found["moreDataAvailable"]) == (True, False)
    assert found["ewons"][0]["tags"][0]["history"] == [
        {"date": written(NOW - 2 * MINUTE), "value": 21.5, "quality": "good"},
        {"date": written(NOW - MINUTE), "value": 22.25, "quality": "uncertain"},
    ]
    assert history(found) == {"temperature": [21.5, 22.25], "starts": [7], "running": [True], "state": ["idle"]}


def test_getdata_narrows_by_device_tag_and_time(program: Program, pump: Sender, processor: ProcessorServices) -> None:
    other = Sender(processor, pump.actor.account_id, "pump-2")  # type: ignore[arg-type]  # a device's actor has one
    other.send([point(1, NOW, "temperature")])
    number = {device["name"]: device["id"] for device in program.ask("getewons")["ewons"]}["pump-2"]
    assert history(program.ask("getdata", ewonId=number)) == {"temperature": [1]}
    tag = program.ask("getewon", id=1)["tags"][0]["id"]
    assert history(program.ask("getdata", ewonId=1, tagId=tag)) == {"temperature": [21.5, 22.25]}
    between: dict[str, Any] = {"from": written(NOW - 2 * MINUTE), "to": written(NOW - 2 * MINUTE)}
    assert history(program.ask("getdata", **between)) == {"temperature": [21.5]}, "both ends count"
    ever: dict[str, Any] = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59.999999Z"}
    assert history(program.ask("getdata", ewonId=number, **ever)) == {"temperature": [1]}
    naive = {"from": written(NOW - MINUTE).rstrip("Z"), "ewonId": 1, "tagId": tag}
    assert history(program.ask("getdata", **naive)) == {"temperature": [22.25]}, "a time without an offset is UTC"


def test_getdata_limits_each_tag_and_says_that_there_is_more(program: Program, pump: Sender) -> None:
    found = program.ask("getdata", limit=1)
    assert history(found) == {"temperature": [21.5], "starts": [7], "running": [True], "state": ["idle"]}
    assert found["moreDataAvailable"] is True
    assert program.ask("getdata", limit=2)["moreDataAvailable"] is False


def test_getdata_with_full_config_lists_what_has_no_points_too(program: Program, pump: Sender) -> None:
    later: dict[str, Any] = {"from": written(NOW + MINUTE)}
    assert program.ask("getdata", **later)["ewons"] == []
    found = program.ask("getdata", fullConfig="True", **later)["ewons"][0]["tags"]
    assert (found[0]["name"], found[0]["history"]) == ("temperature", [])
    assert len(found) == 4
    assert found[0]["value"] == 22.25, "the latest there is"


def test_getdata_is_bounded_over_all_tags(program: Program, pump: Sender) -> None:
    for tag in ("a", "b"):
        pump.send([point(place, NOW - place * MINUTE, tag) for place in range(3000)])
    found = program.ask("getdata")
    assert found["moreDataAvailable"] is True
    assert sum(len(values) for values in history(found).values()) == 5000
    found = program.ask("getdata", limit=2)
    assert {name: len(values) for name, values in history(found).items()} == {
        "a": 2,
        "b": 2,
        "temperature": 2,
        "starts": 1,
        "running": 1,
        "state": 1,
    }
