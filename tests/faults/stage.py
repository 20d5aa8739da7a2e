"""A database, a queue and buckets of their own, and a worker that reaches them through proxies alone."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

import boto3
from sqlalchemy import Engine, create_engine, make_url

from cloudpriv.bootstrap import Services, build
from cloudpriv.config import DATABASE_SETTING, PREFIX
from tests.faults import postgres, store, valkey
from tests.faults.points import Points
from tests.faults.sockets import Proxy
from tests.stack import TestDatabase

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ENDPOINT: Final = f"{PREFIX}S3_ENDPOINT"
ERASER: Final = f"{PREFIX}ERASER_DATABASE_URL"
WORKER_DATABASE: Final = PREFIX + DATABASE_SETTING["worker"]


class Proxied(Protocol):
    """What work that meets faults is done with."""

    @property
    def points(self) -> Points:
        """Where it meets them."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the process that does it."""

    @property
    def log(self) -> Path:
        """What that says."""

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """Before its servers."""


@dataclass(frozen=True, eq=False)
class Stage:
    """Where purges meet faults: `services` and `owner` reach the servers directly, a worker with `environment` by proxies.

    `direct` is the environment of a process that meets no faults; what workers say goes to `log`.
    """

    name: str
    services: Services
    owner: Engine
    points: Points
    environment: Mapping[str, str]
    direct: Mapping[str, str]
    log: Path
    proxies: tuple[Proxy, ...]


@contextmanager
def staged(database: TestDatabase, folder: Path, number: int, changed: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """A stage on a fresh database; `number`, from 1 to 15, tells its queue from others'.

    `changed` are settings of other servers than the embedded ones: of an object store that keeps versions, or of a queue.
    """
    with ExitStack() as cleanup:
        direct = _isolated(database, number, changed or {})
        services = build(replace(database.settings("api"), **_settings(direct)))
        cleanup.callback(services.redis.close)
        cleanup.callback(services.controller.engine.dispose)
        owner = create_engine(database.url("migration"))
        cleanup.callback(owner.dispose)
        points, log = Points(), folder / "worker.log"
        environment, proxies = _proxied(cleanup, direct, folder, points)
        log.touch()
        yield Stage(folder.name, services, owner, points, environment, direct, log, proxies)


def _isolated(database: TestDatabase, number: int, changed: Mapping[str, str]) -> dict[str, str]:
    """The environment of processes on this database, with a queue and new buckets that no others use."""
    found = {**database.environment("controller"), **changed}
    versioned = ENDPOINT in changed
    exports = f"exports-{database.name.replace('_', '-')}"
    client = s3_client(found)
    for bucket in [exports, database.ledger_bucket] if versioned else [exports]:
        client.create_bucket(Bucket=bucket)
        if versioned:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    queue = found[f"{PREFIX}REDIS_URL"].replace("db=0", f"db={number}")
    return {**found, f"{PREFIX}S3_EXPORT_BUCKET": exports, f"{PREFIX}REDIS_URL": queue}


def s3_client(environment: Mapping[str, str]) -> "S3Client":
    """boto3's client of the object store, for what the product never does."""
    return boto3.client(
        "s3",
        endpoint_url=environment[ENDPOINT],
        region_name=environment[f"{PREFIX}S3_REGION"],
        aws_access_key_id=environment[f"{PREFIX}S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environment[f"{PREFIX}S3_SECRET_ACCESS_KEY"],
    )


def sockets_of(environment: Mapping[str, str], variable: str = WORKER_DATABASE) -> Path:
    """The folder of PostgreSQL's socket."""
    return Path(str(make_url(environment[variable]).query["host"]))


def at_socket(url: str, folder: Path) -> str:
    """The URL of a database with its server's socket in another folder."""
    return make_url(url).update_query_dict({"host": str(folder)}).render_as_string(hide_password=False)


def _settings(environment: Mapping[str, str]) -> dict[str, Any]:
    names = ("redis_url", "s3_endpoint", "s3_region", "s3_access_key_id", "s3_secret_access_key", "s3_export_bucket",
             "s3_ledger_bucket")  # fmt: skip
    return {name: environment[PREFIX + name.upper()] for name in names}


def _proxied(
    cleanup: ExitStack, direct: Mapping[str, str], folder: Path, points: Points
) -> tuple[dict[str, str], tuple[Proxy, ...]]:
    """The same environment with a proxy before each server."""
    queue = direct[f"{PREFIX}REDIS_URL"]
    server, place = Path(urlsplit(queue).path), folder / "valkey.sock"
    database = cleanup.enter_context(postgres.proxied(sockets_of(direct), folder, points))
    cache = cleanup.enter_context(valkey.proxied(server, place, points))
    endpoint = cleanup.enter_context(store.proxied(direct[ENDPOINT], points))
    changed = {
        **{name: at_socket(direct[name], folder) for name in (WORKER_DATABASE, ERASER)},
        f"{PREFIX}REDIS_URL": queue.replace(quote(str(server)), quote(str(place))),
        ENDPOINT: endpoint,
    }
    return {**direct, **changed}, (database, cache)
