"""Neither plane reaches the other's objects and keys: with every bucket's credentials, with every keyring."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from cloudpriv.database import PlaneName
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.keys import KeyFault, Keyring, WrappedKey, load_keyring
from tests.planes import BEGINNING, OTHER, PLANES
from tests.stack import TestDatabase, fresh_database

ACCOUNT: Final = UUID("01a00000-0000-7000-8000-000000000001")
KEPT: Final = b"of this plane alone"


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[TestDatabase]:
    """One database for all statements here: none of them changes anything, or it is rolled back."""
    with fresh_database(stack) as made:
        yield made


def s3_of(environment: Mapping[str, str], keys_of: PlaneName | None, server_of: PlaneName) -> Any:
    """A client with one plane's credentials, or none, at one plane's server."""
    endpoint, own = environment[f"{BEGINNING[server_of]}S3_ENDPOINT"], BEGINNING[keys_of or server_of]
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=environment[f"{own}S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environment[f"{own}S3_SECRET_ACCESS_KEY"],
        config=Config(
            signature_version=UNSIGNED if keys_of is None else "s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},
        ),
    )


def bucket_of(environment: Mapping[str, str], plane: PlaneName) -> str:
    return environment["CLOUDPRIV_S3_LEDGER_BUCKET" if plane == "controller" else "CLOUDPRIV_PROCESSOR_S3_BUCKET"]


def operations(client: Any, bucket: str, key: str) -> dict[str, Any]:
    """Every way of S3 to see, take, put or destroy what is in a bucket."""
    there = {"Bucket": bucket, "Key": key}
    upload = {**there, "UploadId": "1"}
    return {
        "list_buckets": client.list_buckets,
        "head_bucket": lambda: client.head_bucket(Bucket=bucket),
        "list_objects": lambda: client.list_objects(Bucket=bucket),
        "list_objects_v2": lambda: client.list_objects_v2(Bucket=bucket),
        "list_object_versions": lambda: client.list_object_versions(Bucket=bucket),
        "get_object": lambda: client.get_object(**there),
        "get_object of a range": lambda: client.get_object(**there, Range="bytes=0-1"),
        "head_object": lambda: client.head_object(**there),
        "put_object": lambda: client.put_object(**there, Body=b"planted"),
        "put_object anew": lambda: client.put_object(Bucket=bucket, Key="planted", Body=b"planted"),
        "copy_object": lambda: client.copy_object(Bucket=bucket, Key="planted", CopySource=there),
        "delete_object": lambda: client.delete_object(**there),
        "delete_objects": lambda: client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]}),
        "create_multipart_upload": lambda: client.create_multipart_upload(**there),
        "upload_part": lambda: client.upload_part(**upload, PartNumber=1, Body=b"planted"),
        "complete_multipart_upload": lambda: client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": [{"ETag": "1", "PartNumber": 1}]}
        ),
        "abort_multipart_upload": lambda: client.abort_multipart_upload(**upload),
        "list_multipart_uploads": lambda: client.list_multipart_uploads(Bucket=bucket),
        "list_parts": lambda: client.list_parts(**upload),
        "create_bucket": lambda: client.create_bucket(Bucket="planted"),
        "delete_bucket": lambda: client.delete_bucket(Bucket=bucket),
    }


def keys_in(client: Any, bucket: str) -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]


def answer_of(operation: Any) -> int:
    """The status with which an operation ends."""
    try:
        operation()
    except ClientError as fault:
        return int(fault.response["ResponseMetadata"]["HTTPStatusCode"])
    return 200


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("keys_of", [*PLANES, None])
def test_only_a_planes_own_credentials_open_its_buckets(
    database: TestDatabase, plane: PlaneName, keys_of: PlaneName | None
) -> None:
    environment = database.environment()
    own, bucket = s3_of(environment, plane, plane), bucket_of(environment, plane)
    own.put_object(Bucket=bucket, Key="a/kept", Body=KEPT)
    before = keys_in(own, bucket)
    answers = {
        name: answer_of(ask) for name, ask in operations(s3_of(environment, keys_of, plane), bucket, "a/kept").items()
    }
    if keys_of == plane:
        assert not {400, 401, 403} & set(answers.values()), "nothing is refused for its wording"
        return
    assert {name: answer for name, answer in answers.items() if answer not in (400, 401, 403)} == {}
    assert keys_in(own, bucket) == before
    assert own.get_object(Bucket=bucket, Key="a/kept")["Body"].read() == KEPT


@pytest.mark.parametrize("plane", PLANES)
def test_a_planes_server_has_none_of_the_others_buckets(database: TestDatabase, plane: PlaneName) -> None:
    environment = database.environment()
    own, foreign = s3_of(environment, plane, plane), bucket_of(environment, OTHER[plane])
    assert foreign not in {bucket["Name"] for bucket in own.list_buckets()["Buckets"]}
    assert answer_of(lambda: own.list_objects_v2(Bucket=foreign)) == 404
    assert answer_of(lambda: own.get_object(Bucket=foreign, Key="a/kept")) == 404


def keyring(environment: Mapping[str, str], file_of: PlaneName, plane: PlaneName) -> Keyring:
    return load_keyring(Path(environment[f"{BEGINNING[file_of]}KEYRING_FILE"]), plane)


@pytest.mark.parametrize("plane", PLANES)
def test_a_keyring_does_not_unwrap_the_other_planes_keys(stack: Stack, plane: PlaneName) -> None:
    other = OTHER[plane]
    theirs = keyring(stack.environment, other, other).new_data_key(ACCOUNT)
    # Under either name of a plane, and also when the stored key is made out to be wrapped by one of our own.
    for named in PLANES:
        ours = keyring(stack.environment, plane, named)
        for stored in (theirs, WrappedKey(ours.active, theirs.wrapped)):
            with pytest.raises(KeyFault):
                ours.data_key(ACCOUNT, stored)
    assert keyring(stack.environment, other, other).data_key(ACCOUNT, theirs).account_id == ACCOUNT


def test_even_with_the_other_planes_key_file_a_keyring_unwraps_only_keys_of_its_own_plane(stack: Stack) -> None:
    theirs = keyring(stack.environment, "processor", "processor").new_data_key(ACCOUNT)
    with pytest.raises(KeyFault):
        keyring(stack.environment, "processor", "controller").data_key(ACCOUNT, theirs)


def test_the_planes_have_no_setting_in_common_but_the_region(stack: Stack) -> None:
    controller, processor = (set(stack.of_plane(plane).values()) for plane in PLANES)
    assert controller & processor == {stack.environment["CLOUDPRIV_S3_REGION"]}


def test_the_processor_plane_can_tell_tokens_but_make_none(stack: Stack) -> None:
    known = Path(stack.of_plane("processor")["CLOUDPRIV_PROCESSOR_TOKEN_KEY_FILE"]).read_bytes()
    assert b"PUBLIC KEY" in known
    assert b"PRIVATE" not in known
