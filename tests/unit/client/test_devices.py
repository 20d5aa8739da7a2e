"""Devices that the server does not know are created once, before their records are sent."""

import json

import pytest

from cloudpriv.client.api import ApiError
from cloudpriv.client.devices import Devices
from cloudpriv.client.rows import Record
from tests.unit.client.peer import ACCOUNT, Fault, Peer

DEVICES = f"/v1/accounts/{ACCOUNT}/devices"


def named(*names: str, account: str = ACCOUNT) -> list[Record]:
    """Records of these devices."""
    return [{"account": account, "device": name} for name in names]


def test_only_missing_devices_are_created_and_the_list_is_read_once(peer: Peer) -> None:
    peer.known = {"a", "b", "c"}
    with peer.client() as client:
        devices = Devices(client)
        assert devices.create_missing(named("a", "x", "x", "y", "id-b")) == 2
        assert devices.create_missing(named("x", "z")) == 1
    assert len(peer.asked("POST", DEVICES)) == 3
    assert peer.known == {"a", "b", "c", "x", "y", "z"}
    assert len(peer.asked("GET", DEVICES)) == 2  # two pages, once
    assert json.loads(peer.asked("POST", DEVICES)[0][1]) == {"serial": "x", "name": "x"}


def test_an_account_is_found_by_its_name_and_read_once(peer: Peer) -> None:
    peer.known = set()
    with peer.client() as client:
        devices = Devices(client)
        assert devices.create_missing(named("x", account="acme")) == 1
        assert devices.create_missing(named("y", account="acme")) == 1
    assert len(peer.asked("POST", "/v1/accounts/lookup")) == 1


def test_nothing_is_created_for_an_account_that_is_not_there(peer: Peer) -> None:
    peer.known = set()
    with peer.client() as client:
        assert Devices(client).create_missing(named("x", account="elsewhere")) == 0
    assert peer.known == set()


def test_a_device_that_appeared_meanwhile_or_has_an_unacceptable_name_is_left_to_the_server(
    peer: Peer,
) -> None:
    peer.known = set()
    peer.faults[DEVICES].extend([Fault(200, body=b'{"items": [], "next_cursor": null}'), Fault(409)])
    with peer.client() as client:
        assert Devices(client).create_missing(named("x", "y" * 65, "z")) == 1
    assert peer.known == {"z"}


@pytest.mark.parametrize("account", ["", ACCOUNT[:-1] + "9", "x" * 101])
def test_records_of_no_known_account_create_nothing_and_stop_nothing(peer: Peer, account: str) -> None:
    peer.known = set()
    if account:
        path = f"/v1/accounts/{account}/devices" if len(account) == len(ACCOUNT) else "/v1/accounts"
        peer.faults[path].append(Fault(404 if len(account) == len(ACCOUNT) else 422))
    with peer.client() as client:
        assert Devices(client).create_missing([*named("x", account=account), *named("y"), *named("")]) == 1
    assert peer.known == {"y"}


def test_a_client_that_may_not_create_devices_is_told(peer: Peer) -> None:
    peer.known = set()
    peer.faults[DEVICES].extend([Fault(403)])
    with peer.client() as client, pytest.raises(ApiError, match="403"):
        Devices(client).create_missing(named("x"))
