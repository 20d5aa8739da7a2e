"""The object store (any S3): the only user of boto3 besides the keys. Object keys hold ids, never personal data."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cloudpriv.platform.errors import BusyError, NotFoundError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes, so the least held in memory; 10,000 of them make 48 GiB
ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NoSuchUpload"})
UNVERSIONED = "null"  # S3's own name for the version of an object that was stored without versioning


@dataclass(frozen=True)
class StoredObject:
    """What a finished upload is known by."""

    key: str
    size: int


class ObjectStore:
    """One bucket. Every fault of the store is a BusyError, an absent object a NotFoundError."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._s3, self.bucket = client, bucket
        self._knows_versions = True  # until the store says otherwise

    def put_stream(self, key: str, chunks: Iterable[bytes], *, confirm: Callable[[], None]) -> StoredObject:
        """Store `chunks` under `key` in constant memory; visible only once whole, aborted when `chunks` raises.

        `confirm` is called last before the upload begins and last before it becomes visible; it raises to stop it.
        """
        confirm()
        with _faults():
            upload = self._s3.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
        try:
            parts, size = self._upload_parts(key, upload, chunks)
            confirm()
            with _faults():
                self._s3.complete_multipart_upload(
                    Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
                )
        except BaseException:
            with suppress(BusyError):  # what stays unaborted is found by `delete_below`; the first fault tells more
                self._abort(key, upload)
            raise
        return StoredObject(key, size)

    def get_stream(self, key: str, chunk_bytes: int = 1024 * 1024) -> tuple[int, Iterator[bytes]]:
        """Size and content of an object, in chunks."""
        with _faults():
            answer = self._s3.get_object(Bucket=self.bucket, Key=key)
        return answer["ContentLength"], _chunks(answer["Body"], chunk_bytes)

    def of_bucket(self, bucket: str) -> "ObjectStore":
        """Another bucket of the same store."""
        return ObjectStore(self._s3, bucket)

    def put(self, key: str, content: bytes) -> None:
        """Store a small object, whole or not at all."""
        with _faults():
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def put_new(self, key: str, content: bytes) -> bytes:
        """Store a small object where there is none; what lies there then, of whoever came first.

        A store that knows no If-None-Match (RFC 9110, 13.1.2) lets the last of several that come at once win.
        """
        with _faults():
            try:
                self._s3.put_object(Bucket=self.bucket, Key=key, Body=content, IfNoneMatch="*")
            except ClientError as fault:
                if _code(fault) != "PreconditionFailed":
                    raise
        return self.get(key)

    def get(self, key: str) -> bytes:
        """The content of a small object. Raises NotFoundError."""
        return b"".join(self.get_stream(key)[1])

    def get_range(self, key: str, offset: int, size: int) -> bytes:
        """`size` bytes of an object from `offset` on. Raises NotFoundError."""
        with _faults():
            answer = self._s3.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={offset}-{offset + size - 1}")
        return b"".join(_chunks(answer["Body"], size))

    def has(self, key: str) -> bool:
        """Whether an object lies at `key`. Raises NotFoundError for an absent bucket alone, as `get` does for both."""
        return key in self.keys_after(key, key[:1])

    def keys_after(self, prefix: str, after: str) -> Iterator[str]:
        """Keys below `prefix` that come after the key `after`, in the order of their UTF-8."""
        with _faults():
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, StartAfter=after)
            for page in pages:
                yield from (found["Key"] for found in page.get("Contents", []))

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of all objects and all versions below `prefix`, each once."""
        yield from dict.fromkeys(key for key, _ in self._versions(prefix))

    def folders(self, prefix: str) -> Iterator[str]:
        """What follows `prefix`, up to the next slash, in the keys of present objects; each once, in order."""
        with _faults():
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
            for page in pages:
                yield from (found["Prefix"][len(prefix) : -1] for found in page.get("CommonPrefixes", []))

    def unfinished(self, prefix: str) -> list[tuple[str, str]]:
        """Key and id of multipart uploads below `prefix` that neither ended nor were aborted."""
        with _faults():
            try:
                pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
                uploads = [upload for page in pages for upload in page.get("Uploads", [])]
            except ClientError as fault:
                if _code(fault) != "NoSuchUpload":  # how some stores say that there is none
                    raise
                return []
        return [(upload["Key"], upload["UploadId"]) for upload in uploads if upload["Key"].startswith(prefix)]

    def delete_below(self, prefix: str) -> int:
        """Erase every object, version, delete marker and unfinished upload below `prefix`; how many there were."""
        count = 0
        for key, version in list(self._versions(prefix)):
            with _faults():
                self._s3.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
            count += 1
        for key, upload in self.unfinished(prefix):
            self._abort(key, upload)
            count += 1
        return count

    def ready(self) -> None:
        """Raises BusyError unless the bucket answers."""
        with _faults():
            self._s3.head_bucket(Bucket=self.bucket)

    def _upload_parts(self, key: str, upload: str, chunks: Iterable[bytes]) -> tuple[list[Any], int]:
        parts: list[Any] = []
        size = 0
        for number, body in enumerate(_regrouped(chunks), start=1):
            with _faults():
                tag = self._s3.upload_part(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload,
                    PartNumber=number,
                    Body=body,  # type: ignore[arg-type]  # botocore takes a bytearray as it is, without a copy
                )["ETag"]
            parts.append({"ETag": tag, "PartNumber": number})
            size += len(body)
        return parts, size

    def _versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        """All versions and delete markers; of a store that knows none, its objects."""
        with _faults():
            try:
                if self._knows_versions:
                    for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
                        for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                            yield entry["Key"], entry["VersionId"]
                    return
            except ClientError as fault:
                if _code(fault) != "NotImplemented":
                    raise
                self._knows_versions = False
            for listing in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for found in listing.get("Contents", []):
                    yield found["Key"], UNVERSIONED

    def _abort(self, key: str, upload: str) -> None:
        with suppress(NotFoundError), _faults():
            self._s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)


class _faults:  # noqa: N801  reads as a statement: `with _faults():`
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, ClientError) and _code(fault) in ABSENT:
            raise NotFoundError from None
        if isinstance(fault, BotoCoreError | ClientError):
            raise BusyError("The object store does not answer.") from None


def _code(fault: ClientError) -> str | None:
    return fault.response.get("Error", {}).get("Code")


def _chunks(body: "StreamingBody", chunk_bytes: int) -> Iterator[bytes]:
    with closing(body), _faults():
        yield from body.iter_chunks(chunk_bytes)


def _regrouped(chunks: Iterable[bytes]) -> Iterator[bytearray]:
    """The same bytes in parts of PART_BYTES or a little more; at least one part, as S3 wants."""
    part, any_part = bytearray(), False
    for chunk in chunks:
        part += chunk
        if len(part) >= PART_BYTES:
            yield part
            part, any_part = bytearray(), True
    if part or not any_part:
        yield part


def connect(
    bucket: str,
    *,
    region: str,
    endpoint: str | None,
    access_key_id: str | None,
    secret_access_key: str | None,
) -> ObjectStore:
    """The bucket's store. Checksums only when required: not every S3 knows the newer ones."""
    options = Config(
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=3,
        read_timeout=30,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint else {},
        user_agent="cloudpriv",  # botocore would make up its own, of some twenty parts, for every request
    )
    client = boto3.client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=options,
    )
    client.meta.events.register("request-created.s3.PutObject", _without_expectation)
    return ObjectStore(client, bucket)


def _without_expectation(request: "AWSRequest", **_: object) -> None:
    """Send the content of a small object at once: to ask first whether it is welcome (Expect) is a round trip of its own."""
    del request.headers["Expect"]
