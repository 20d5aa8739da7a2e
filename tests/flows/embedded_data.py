"""Write to and read from all three servers of an embedded stack, by the settings that name them."""

from collections.abc import Mapping
from typing import Any

import boto3
import psycopg
import redis
from botocore.config import Config
from sqlalchemy import make_url

OWNER, API, WORKER = (
    "CLOUDPRIV_MIGRATION_DATABASE_URL",
    "CLOUDPRIV_DATABASE_URL",
    "CLOUDPRIV_WORKER_DATABASE_URL",
)


def connect(environment: Mapping[str, str], name: str = OWNER) -> psycopg.Connection[tuple[Any, ...]]:
    url = make_url(environment[name])
    return psycopg.connect(
        host=str(url.query["host"]),
        user=url.username,
        password=url.password,
        dbname=url.database,
        autocommit=True,
    )


def s3_client(environment: Mapping[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=environment["CLOUDPRIV_S3_ENDPOINT"],
        region_name=environment["CLOUDPRIV_S3_REGION"],
        aws_access_key_id=environment["CLOUDPRIV_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["CLOUDPRIV_S3_SECRET_ACCESS_KEY"],
        config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
    )


def write_everywhere(environment: Mapping[str, str]) -> None:
    """A row, a key and an object."""
    with connect(environment) as database:
        database.execute("CREATE TABLE kept AS SELECT 'row' AS what")
    with redis.Redis.from_url(environment["CLOUDPRIV_REDIS_URL"]) as cache:
        cache.set("kept", "key")
    bucket = environment["CLOUDPRIV_S3_EXPORT_BUCKET"]
    s3_client(environment).put_object(Bucket=bucket, Key="a/kept", Body=b"object")


def read_everywhere(environment: Mapping[str, str]) -> list[object]:
    """What `write_everywhere` wrote."""
    with connect(environment) as database:
        row = database.execute("SELECT what FROM kept").fetchone()
    with redis.Redis.from_url(environment["CLOUDPRIV_REDIS_URL"]) as cache:
        key = cache.get("kept")
    bucket = environment["CLOUDPRIV_S3_EXPORT_BUCKET"]
    return [row, key, s3_client(environment).get_object(Bucket=bucket, Key="a/kept")["Body"].read()]


KEPT = [("row",), b"key", b"object"]
