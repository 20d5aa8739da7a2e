"""Devices of an account over HTTP."""

from tests.backend import Backend

DEVICE = {"serial": "1750-0417-21", "common_name": "cosy-0417", "name": "Pump", "model": "Cosy 131", "kind": "gateway"}


def devices_of(backend: Backend) -> str:
    """The path of a fresh account's devices."""
    return f"/v1/accounts/{backend.open_account()}/devices"


def test_a_device_is_registered_and_read_back(backend: Backend) -> None:
    added = backend.post(devices_of(backend), DEVICE)
    assert added.status_code == 201
    read = backend.get(added.headers["Location"]).get_json()
    assert {name: read[name] for name in DEVICE} == DEVICE
    assert read["last_seen_at"] is None


def test_serial_and_common_name_are_unique_in_the_account(backend: Backend) -> None:
    devices = devices_of(backend)
    backend.post(devices, DEVICE)
    assert backend.post(devices, {"serial": DEVICE["serial"].upper()}).status_code == 409
    assert backend.post(devices, {"serial": "other", "common_name": DEVICE["common_name"]}).status_code == 409
    assert backend.post(devices, {"serial": "other"}).status_code == 201
    assert backend.post(devices, {"serial": "third"}).status_code == 201


def test_a_removed_device_is_off_the_list_and_its_serial_free(backend: Backend) -> None:
    devices = devices_of(backend)
    path = backend.post(devices, DEVICE).headers["Location"]
    assert backend.send("DELETE", path, etag='"1"').status_code == 204
    assert backend.get(path).status_code == 404
    assert backend.get(devices).get_json()["items"] == []
    assert backend.post(devices, DEVICE).status_code == 201


def test_a_change_moves_the_index_with_the_name(backend: Backend) -> None:
    devices = devices_of(backend)
    path = backend.post(devices, DEVICE).headers["Location"]
    changed = backend.send("PATCH", path, {"common_name": "cosy-new", "kind": None}, etag='"1"')
    assert (changed.get_json()["common_name"], changed.get_json()["kind"]) == ("cosy-new", None)
    assert backend.post(devices, {"serial": "b", "common_name": "cosy-0417"}).status_code == 201
    assert backend.send("PATCH", path, {"common_name": "cosy-0417"}, etag='"2"').status_code == 409


def test_another_service_reaches_no_device(backend: Backend, other_backend: Backend) -> None:
    devices = devices_of(backend)
    path = backend.post(devices, DEVICE).headers["Location"]
    assert {other_backend.get(p).status_code for p in (devices, path)} == {404}
    assert other_backend.send("DELETE", path, etag='"1"').status_code == 404
