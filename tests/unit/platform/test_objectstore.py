"""The object store: on the embedded server, which knows no versions, and on one that knows them."""

from collections.abc import Iterator

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from moto.server import ThreadedMotoServer

from cloudpriv.bootstrap import Services
from cloudpriv.platform import objectstore
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.platform.objectstore import PART_BYTES, ObjectStore

BUCKET = "versioned"


class Withdrawn(Exception):  # noqa: N818  it is no fault
    """Whoever uploads is told to stop."""


def always() -> None:
    """Confirms."""


def never() -> None:
    """Confirms not."""
    raise Withdrawn


@pytest.fixture
def embedded(services: Services) -> ObjectStore:
    """The embedded server's bucket."""
    return services.exports


@pytest.fixture(scope="module")
def versioned() -> Iterator[ObjectStore]:
    """A bucket that keeps versions."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"access_key_id": "test", "secret_access_key": "test"}
    made = objectstore.connect(BUCKET, region="us-east-1", endpoint=f"http://{host}:{port}", **keys)
    admin = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    admin.create_bucket(Bucket=BUCKET)
    admin.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield made
    server.stop()


@pytest.fixture(params=["embedded", "versioned"])
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """Each of them in turn."""
    found: ObjectStore = request.getfixturevalue(request.param)
    yield found
    found.delete_below("test/")


def put(store: ObjectStore, key: str, content: bytes = b"content") -> None:
    assert store.put_stream(key, iter([content]), confirm=always).size == len(content)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 1])
def test_what_was_stored_in_chunks_is_read_back(store: ObjectStore, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    chunks = [content[start : min(start + 100_000, size)] for start in range(0, size, 100_000)]
    assert store.put_stream("test/a", chunks, confirm=always).size == size
    length, read = store.get_stream("test/a")
    assert (length, b"".join(read)) == (size, content[:size])


def test_an_upload_that_fails_leaves_nothing(store: ObjectStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * (PART_BYTES + 1)
        raise Withdrawn

    with pytest.raises(Withdrawn):
        store.put_stream("test/failed", chunks(), confirm=always)
    assert (list(store.keys("test/failed")), store.unfinished("test/failed")) == ([], [])


def test_an_upload_that_is_not_confirmed_is_not_begun(store: ObjectStore) -> None:
    chunks = iter([b"content"])
    with pytest.raises(Withdrawn):
        store.put_stream("test/withdrawn", chunks, confirm=never)
    assert next(chunks) == b"content"


def test_an_upload_that_is_not_confirmed_at_its_end_never_becomes_visible(store: ObjectStore) -> None:
    asked = []

    def once() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise Withdrawn

    with pytest.raises(Withdrawn):
        store.put_stream("test/withdrawn", [b"content"], confirm=once)
    assert (list(store.keys("test/withdrawn")), store.unfinished("test/withdrawn")) == ([], [])


def test_an_upload_that_was_aborted_from_elsewhere_does_not_become_visible(embedded: ObjectStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"content"
        assert embedded.delete_below("test/aborted") == 1

    with pytest.raises(NotFoundError):
        embedded.put_stream("test/aborted", chunks(), confirm=always)
    assert list(embedded.keys("test/aborted")) == []


def test_everything_below_a_prefix_is_erased_and_nothing_beside_it(store: ObjectStore) -> None:
    for key in ("test/one/a", "test/one/b/c", "test/one.zip", "test/two/a"):
        put(store, key)
    assert store.delete_below("test/one/") == 2
    assert sorted(store.keys("test/")) == ["test/one.zip", "test/two/a"]
    assert store.delete_below("test/") == 2
    assert store.delete_below("test/") == 0


def test_all_versions_and_delete_markers_are_erased(versioned: ObjectStore) -> None:
    put(versioned, "test/again", b"first")
    put(versioned, "test/again", b"second")
    versioned._s3.delete_object(Bucket=BUCKET, Key="test/again")  # a delete marker hides both
    with pytest.raises(NotFoundError):
        versioned.get_stream("test/again")
    assert list(versioned.keys("test/again")) == ["test/again"]
    assert versioned.delete_below("test/again") == 3
    assert list(versioned.keys("test/again")) == []


def test_an_absent_object_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        store.get_stream("test/absent")


def test_a_store_that_refuses_or_does_not_answer_is_busy(services: Services) -> None:
    settings = services.settings
    refused = objectstore.connect(
        settings.s3_export_bucket,
        region=settings.s3_region,
        endpoint=settings.s3_endpoint,
        access_key_id="somebody-else-here",
        secret_access_key="some-other-secret-key",
    )
    for attempt in (
        refused.ready,
        lambda: refused.delete_below("x"),
        lambda: refused.get_stream("x"),
        lambda: list(refused.keys("x")),
    ):
        with pytest.raises(BusyError):
            attempt()
    services.exports.ready()


def test_a_small_object_is_not_replaced_by_a_later_one(versioned: ObjectStore) -> None:
    assert versioned.put_new("test/new", b"first") == b"first"
    assert versioned.put_new("test/new", b"first") == b"first"
    assert versioned.put_new("test/new", b"second") == b"first"
    assert versioned.get("test/new") == b"first"
    versioned.delete_below("test/")


def test_a_store_that_knows_no_condition_still_tells_what_lies_there(embedded: ObjectStore) -> None:
    assert embedded.put_new("test/new", b"first") == b"first"
    embedded.delete_below("test/")


def test_a_small_object_is_sent_at_once_without_asking_whether_it_is_welcome(store: ObjectStore) -> None:
    asked: list[bool] = []

    def look(request: AWSPreparedRequest, **_: object) -> None:
        asked.append("Expect" in request.headers)

    store._s3.meta.events.register("before-send.s3.PutObject", look, unique_id="look")
    try:
        store.put("small/object", b"content")
        store.put_new("small/new", b"content")
    finally:
        store._s3.meta.events.unregister("before-send.s3.PutObject", unique_id="look")
    assert asked == [False, False]
    assert store.get("small/object") == store.get("small/new") == b"content"
