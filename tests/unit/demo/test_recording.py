"""The demo's recording: what real servers sent, complete and of nobody."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from cloudpriv.client import openvpn, radius
from cloudpriv.demo import recording

FOLDER = Path(recording.__file__).parent
# RFC 5737 and RFC 3849.
DOCUMENTATION = [ip_network(network) for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]

VERSIONS: tuple[openvpn.StatusVersion, ...] = (1, 2, 3)


def accounting() -> list[dict[str, Any]]:
    """The bodies of all requests that are of a session, attributes with their first value."""
    bodies = [
        {name: attribute["value"][0] for name, attribute in request["body"].items()}
        for request in recording.radius_requests()
    ]
    return [body for body in bodies if body["Acct-Status-Type"] in {"Start", "Interim-Update", "Stop"}]


def sessions(service: str) -> dict[object, list[dict[str, object]]]:
    found: dict[object, list[dict[str, object]]] = defaultdict(list)
    for record in recording.records(service):
        found[record["session"]].append(record)
    return found


def years(record: dict[str, object]) -> set[str]:
    return {str(record[name])[:4] for name in ("started_at", "ended_at") if name in record}


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 200_000


def test_there_are_hundreds_of_sessions_of_both_servers() -> None:
    assert len(sessions("talk2m")) == 280
    assert len(sessions("intesis")) == 41


def test_every_request_is_an_accounting_request_of_a_gateway() -> None:
    kinds = Counter((request["path"], request["section"]) for request in recording.radius_requests())
    assert set(kinds) == {("/radius/accounting", "accounting")}
    statuses = Counter(request["body"]["Acct-Status-Type"]["value"][0] for request in recording.radius_requests())
    assert statuses["Accounting-On"] == statuses["Accounting-Off"] == 4
    assert min(statuses["Start"], statuses["Interim-Update"], statuses["Stop"]) > 200


def test_every_request_of_a_session_becomes_one_record() -> None:
    assert len(list(recording.records("talk2m"))) == len(accounting())


def test_sums_of_the_records_are_the_sums_of_what_the_gateways_counted() -> None:
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for body in accounting():
        highest = counted[body["Acct-Unique-Session-Id"]]
        for place, direction in enumerate(("Input", "Output")):
            wraps = body.get(f"Acct-{direction}-Gigawords", 0)
            octets = body.get(f"Acct-{direction}-Octets", 0)
            highest[place] = max(highest[place], wraps * 2**32 + octets)
    for session, records in sessions("talk2m").items():
        assert counted[str(session)] == [
            max(record[name] for record in records)  # type: ignore[type-var] # counters are int
            for name in ("bytes_from_device", "bytes_to_device")
        ]


def test_some_counters_pass_32_bits() -> None:
    wide = [
        session
        for session, records in sessions("talk2m").items()
        if any(int(str(record["bytes_from_device"])) >= 2**32 for record in records)
    ]
    assert len(wide) > 10


@pytest.mark.parametrize("service", ["talk2m", "intesis"])
def test_all_records_of_a_session_agree_where_it_began_and_whose_it_is(service: str) -> None:
    for records in sessions(service).values():
        for name in ("started_at", "account", "device", "remote_address"):
            assert len({record[name] for record in records}) == 1


@pytest.mark.parametrize("service", ["talk2m", "intesis"])
def test_counters_only_grow_with_the_end_of_the_session(service: str) -> None:
    for records in sessions(service).values():
        ended = sorted((record for record in records if "ended_at" in record), key=lambda record: str(record["ended_at"]))
        for name in ("bytes_from_device", "bytes_to_device"):
            counts = [int(str(record[name])) for record in ended]
            assert counts == sorted(counts)


def test_it_has_the_faults_of_a_real_line() -> None:
    statuses: dict[str, list[str]] = defaultdict(list)
    for body in accounting():
        statuses[body["Acct-Unique-Session-Id"]].append(body["Acct-Status-Type"])
    order = ["Start", "Interim-Update", "Stop"].index
    assert sum("Start" not in seen for seen in statuses.values()) >= 5
    assert sum("Stop" not in seen for seen in statuses.values()) >= 10
    assert sum(seen != sorted(seen, key=order) for seen in statuses.values()) >= 20
    assert sum(seen.count("Start") > 1 or seen.count("Stop") > 1 for seen in statuses.values()) >= 20
    assert any("Class" not in body for body in accounting())
    assert any(body["Acct-Delay-Time"] > 0 for body in accounting())


def test_a_packet_sent_again_tells_the_same_event_time_and_a_longer_delay() -> None:
    told: dict[tuple[object, ...], list[dict[str, Any]]] = defaultdict(list)
    for body in accounting():
        event = body["Acct-Unique-Session-Id"], body["Acct-Status-Type"], body.get("Acct-Session-Time")
        told[event].append(body)
    again = [bodies for bodies in told.values() if len(bodies) > 1]
    assert len(again) >= 20
    for bodies in again:
        assert len({body["Event-Timestamp"] for body in bodies}) == 1
        assert len({body["Acct-Delay-Time"] for body in bodies}) == len(bodies)


def test_a_name_beyond_ascii_arrives_as_the_device_is_called() -> None:
    assert "kylmaskin-öst" in {record["device"] for record in recording.records("talk2m")}


@pytest.mark.parametrize("service", ["talk2m", "intesis"])
def test_every_record_belongs_to_a_device_of_its_account(service: str) -> None:
    owned = {
        (account["account_name"], device["common_name"])
        for account in recording.accounts()
        if account["service"] == service
        for device in account["device"]
    }
    assert {(record["account"], record["device"]) for record in recording.records(service)} == owned


def test_a_device_belongs_to_one_account() -> None:
    devices = [device for account in recording.accounts() for device in account["device"]]
    for name in ("serial", "common_name"):
        assert len({device[name] for device in devices}) == len(devices)


def test_accounts_have_traffic_of_the_years_that_they_say() -> None:
    seen: dict[object, set[str]] = defaultdict(set)
    for service in ("talk2m", "intesis"):
        for record in recording.records(service):
            seen[record["account"]] |= years(record)
    names = {"2018": "2018", "recent": "2026", "openvpn": "2026"}
    assert seen == {
        account["account_name"]: {names[which] for which in account["traffic"]} for account in recording.accounts()
    }
    only_old = [account for account, found in seen.items() if found == {"2018"}]
    assert sorted(map(str, only_old)) == ["acme-water", "norrvik-dairy"]


def test_accounts_are_older_than_their_traffic_and_nothing_lies_in_the_future() -> None:
    created = {account["account_name"]: account["created_at"] for account in recording.accounts()}
    for service in ("talk2m", "intesis"):
        for record in recording.records(service):
            start = datetime.fromisoformat(str(record["started_at"]))
            end = datetime.fromisoformat(str(record.get("ended_at", record["started_at"])))
            assert created[record["account"]] < start <= end < datetime.now(UTC)


def test_every_address_is_one_for_documentation() -> None:
    told = {str(record["remote_address"]) for service in ("talk2m", "intesis") for record in recording.records(service)}
    told |= {body["NAS-IP-Address"] for body in accounting()}
    for address in told:
        assert any(ip_address(address) in network for network in DOCUMENTATION)


def test_no_password_and_nothing_of_the_machine_was_recorded() -> None:
    attributes = {name for request in recording.radius_requests() for name in request["body"]}
    variables = {name for event in recording.openvpn_events() for name in event}
    assert "User-Password" not in attributes
    assert not {name for name in variables if name.startswith(("IV_", "tls_", "X509_", "daemon", "config", "password"))}


def test_a_session_without_a_disconnect_is_known_from_the_status_file() -> None:
    events = list(recording.openvpn_events())
    connected = {openvpn.connect_record(event)["session"] for event in events if event["script_type"] == "client-connect"}
    ended = {openvpn.disconnect_record(event)["session"] for event in events if event["script_type"] == "client-disconnect"}
    alive = {record["session"] for record in openvpn.status_records(recording.openvpn_status(), 2)}
    assert len(connected) == 41
    assert ended < connected
    assert alive <= connected
    assert connected - ended <= alive
    assert len(connected - ended) == 1


def test_the_status_versions_tell_the_same_sessions() -> None:
    told = [
        {
            (record["session"], record["started_at"], record["ended_at"])
            for record in openvpn.status_records(recording.openvpn_status(version), version)
        }
        for version in VERSIONS
    ]
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 5


def test_accounting_on_and_off_are_skipped() -> None:
    bodies = [request["body"] for request in recording.radius_requests()]
    assert sum(radius.record(body) is None for body in bodies) == 8
