"""Keys: what is sealed opens with the right key in the right place, and nowhere else."""

import base64
import json
import secrets
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cloudpriv.platform.keys import KeyFault, Keyring, WrappedKey, load_keyring

VALUE = {"name": "Kim Exempel", "phones": ["+46 70 174 06 05"]}
ACCOUNT, RECORD = uuid4(), uuid4()


def ring(**keys: bytes) -> Keyring:
    """A keyring of these key-encryption keys; the last one is active."""
    found = keys or {"one": secrets.token_bytes(32)}
    return Keyring("controller", list(found)[-1], found, secrets.token_bytes(32))


def written(path: Path, **changed: object) -> Path:
    """A keyring file."""
    text = {"index_key": b64(), "active": "one", "keys": {"one": b64()}, **changed}
    path.write_text(json.dumps(text))
    return path


def b64(count: int = 32) -> str:
    """Random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(count)).decode()


def test_a_sealed_value_opens_again_and_hides_what_it_holds() -> None:
    keyring = ring()
    key = keyring.data_key(ACCOUNT, keyring.new_data_key(ACCOUNT))
    first, second = (key.seal(RECORD, "person.identity", VALUE) for _ in range(2))
    assert key.open(RECORD, "person.identity", first) == VALUE
    assert b"Kim" not in first
    assert first != second, "the same value twice must not look the same"


def test_a_sealed_value_opens_in_no_other_place() -> None:
    keyring = ring()
    key = keyring.data_key(ACCOUNT, keyring.new_data_key(ACCOUNT))
    sealed = key.seal(RECORD, "person.identity", VALUE)
    moved = [(uuid4(), "person.identity", sealed), (RECORD, "device.identity", sealed)]
    altered = [
        (RECORD, "person.identity", sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :])
        for index in (0, 12, len(sealed) - 1)
    ]
    for record, purpose, value in [*moved, *altered, (RECORD, "person.identity", sealed[:20])]:
        with pytest.raises(KeyFault):
            key.open(record, purpose, value)


def test_a_data_key_belongs_to_one_account_and_plane() -> None:
    keyring = ring()
    stored = keyring.new_data_key(ACCOUNT)
    for thief, account in ((keyring, uuid4()), (replace(keyring, plane="processor"), ACCOUNT)):
        with pytest.raises(KeyFault):
            replace(thief, _cache=type(thief._cache)()).data_key(account, stored)


def test_what_one_account_sealed_another_cannot_open() -> None:
    keyring, other = ring(), uuid4()
    mine = keyring.data_key(ACCOUNT, keyring.new_data_key(ACCOUNT))
    theirs = keyring.data_key(other, keyring.new_data_key(other))
    with pytest.raises(KeyFault):
        theirs.open(RECORD, "person.identity", mine.seal(RECORD, "person.identity", VALUE))


def test_a_data_key_leaves_memory_when_its_time_is_over_though_nobody_asks_for_it_again() -> None:
    times = [0.0]
    keyring = replace(ring(), monotonic=lambda: times[-1])
    erased, living = keyring.new_data_key(ACCOUNT), keyring.new_data_key(RECORD)
    known = weakref.ref(keyring.data_key(ACCOUNT, erased))
    times.append(29.9)
    keyring.data_key(RECORD, living)
    assert known() is keyring.data_key(ACCOUNT, erased), "unwrapped once only"
    times.append(30.0)
    keyring.data_key(RECORD, living)
    assert known() is None


def test_rewrapping_keeps_the_data_key_and_frees_the_old_key_encryption_key() -> None:
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    before = ring(old=old)
    stored = before.new_data_key(ACCOUNT)
    sealed = before.data_key(ACCOUNT, stored).seal(RECORD, "x", VALUE)
    rewrapped = ring(old=old, new=new).rewrap(ACCOUNT, stored)
    after = ring(new=new)
    assert rewrapped.kek_id == "new"
    assert after.data_key(ACCOUNT, rewrapped).open(RECORD, "x", sealed) == VALUE
    with pytest.raises(KeyFault, match="old"):
        after.data_key(ACCOUNT, stored)


def test_equal_values_have_one_blind_index_within_an_account_only() -> None:
    keyring, other = ring(), uuid4()
    mine = keyring.data_key(ACCOUNT, keyring.new_data_key(ACCOUNT))
    theirs = keyring.data_key(other, keyring.new_data_key(other))
    assert mine.blind_index("serial", "a") == mine.blind_index("serial", "a")
    indexes = {mine.blind_index("serial", "a"), mine.blind_index("common_name", "a"), mine.blind_index("serial", "b")}
    assert len({*indexes, theirs.blind_index("serial", "a"), keyring.blind_index("serial", "a")}) == 5


def test_nothing_secret_shows_in_a_representation() -> None:
    keyring = ring()
    stored = keyring.new_data_key(ACCOUNT)
    shown = repr(keyring) + repr(keyring.data_key(ACCOUNT, stored))
    assert keyring.index_key.hex() not in shown
    assert repr(keyring.index_key) not in shown


@pytest.mark.parametrize(
    "fault",
    [
        {"keys": {"one": "no base64!"}},
        {"keys": {"one": b64(16)}},
        {"active": "two"},
        {"keys": {}},
        {"keys": []},
        {"index_key": b64(31)},
        {"index_key": 7},
    ],
)
def test_a_broken_keyring_is_one_fault_without_key_material(tmp_path: Path, fault: dict[str, object]) -> None:
    with pytest.raises(KeyFault) as raised:
        load_keyring(written(tmp_path / "keyring.json", **fault), "controller")
    assert len(str(raised.value).splitlines()) == 1
    assert "base64" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}"])
def test_a_file_that_is_no_keyring_is_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keyring.json"
    path.write_bytes(content)
    with pytest.raises(KeyFault):
        load_keyring(path, "controller")
    with pytest.raises(KeyFault):
        load_keyring(tmp_path / "absent.json", "controller")


@pytest.fixture(scope="module")
def kms() -> Iterator[str]:
    """The endpoint of a KMS."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing-testing-testing")
        environment.delenv("AWS_CA_BUNDLE", raising=False)
        yield f"http://{host}:{port}"
    server.stop()


def test_a_keyring_under_kms_opens_for_its_plane_only(tmp_path: Path, kms: str) -> None:
    client = boto3.client("kms", endpoint_url=kms, region_name="eu-north-1")
    key_id = client.create_key()["KeyMetadata"]["KeyId"]

    def sealed(name: str) -> str:
        context = {"plane": "controller", "entry": name}
        blob = client.encrypt(KeyId=key_id, Plaintext=secrets.token_bytes(32), EncryptionContext=context)["CiphertextBlob"]
        return base64.b64encode(blob).decode()

    path = written(tmp_path / "keyring.json", index_key=sealed("index_key"), keys={"one": sealed("one")})
    options = {"kms_key_id": key_id, "kms_endpoint": kms, "region": "eu-north-1"}
    keyring = load_keyring(path, "controller", **options)
    stored = keyring.new_data_key(ACCOUNT)
    assert keyring.data_key(ACCOUNT, stored).account_id == ACCOUNT
    with pytest.raises(KeyFault):
        load_keyring(path, "processor", **options)
    with pytest.raises(KeyFault):
        load_keyring(path, "controller")


def test_a_key_of_another_installation_unwraps_nothing() -> None:
    with pytest.raises(KeyFault):
        ring(one=secrets.token_bytes(32)).data_key(ACCOUNT, ring(one=secrets.token_bytes(32)).new_data_key(ACCOUNT))
    with pytest.raises(KeyFault):
        ring().data_key(ACCOUNT, WrappedKey("one", b""))


def test_a_sealed_object_opens_under_its_own_name_and_account_alone() -> None:
    keyring = ring()
    wrapped, elsewhere = keyring.new_data_key(ACCOUNT), keyring.new_data_key(RECORD)
    key, others = keyring.data_key(ACCOUNT, wrapped), keyring.data_key(RECORD, elsewhere)
    sealed = key.seal_object("chunks/one", b"21.5 C")
    assert b"21.5" not in sealed
    assert key.open_object("chunks/one", sealed) == b"21.5 C"
    for opener, name, content in (
        (key, "chunks/two", sealed),
        (others, "chunks/one", sealed),
        (key, "chunks/one", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (key, "chunks/one", b""),
    ):
        with pytest.raises(KeyFault):
            opener.open_object(name, content)


def test_the_other_planes_keyring_unwraps_no_data_key_even_with_the_same_key() -> None:
    keyring = ring()
    wrapped = keyring.new_data_key(ACCOUNT)
    with pytest.raises(KeyFault):
        replace(keyring, plane="processor").data_key(ACCOUNT, wrapped)
