"""A database, a queue and buckets of their own, and a worker that reaches them through proxies alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import UUID

import boto3
from sqlalchemy import Engine, create_engine, make_url, text

from cloudpriv.bootstrap import Services, build
from cloudpriv.config import DATABASE_SETTING, PREFIX
from tests.faults import postgres, store, valkey
from tests.faults.points import Decide, Points, let_through
from tests.faults.sockets import Proxy
from tests.stack import TestDatabase

PATIENCE: Final = 60.0
WORKER_DATABASE: Final = PREFIX + DATABASE_SETTING["worker"]


class Runner:
    """Carries on purges, each in a process that is forked for it and can be killed."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("wb") as stderr:
            command = [sys.executable, "-m", "tests.faults.runner"]
            self._process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        self._started, self._child = Event(), 0

    def run(self, purge_id: UUID) -> int:
        """Carry a purge on in a new process; its exit code, negative for a signal."""
        assert self._process.stdin is not None
        self._started.clear()
        self._process.stdin.write(f"{purge_id}\n")
        self._process.stdin.flush()
        self._child = self._told()
        self._started.set()
        return self._told()

    def kill(self) -> None:
        """SIGKILL to the process that runs."""
        assert self._started.wait(PATIENCE)
        os.kill(self._child, signal.SIGKILL)

    def close(self) -> None:
        """End it all."""
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def _told(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@dataclass(frozen=True, eq=False)
class Stage:
    """Where purges are carried out that fail: `services` and `owner` reach the servers directly, `run` through the proxies."""

    name: str
    services: Services
    owner: Engine
    points: Points
    runner: Runner
    log: Path
    sockets: tuple[Proxy, ...]

    def run(self, purge_id: UUID, decide: Decide = let_through) -> int:
        """Have a worker carry on a purge, with these faults; its exit code. All that it left unfinished is rolled back."""
        self.points.restart(decide)
        code = self.runner.run(purge_id)
        for proxy in self.sockets:
            proxy.settle()
        return code

    def let_lease_end(self, purge_id: UUID) -> None:
        """As 31 s without its worker do."""
        statement = "UPDATE purges SET lease_until = lease_until - interval '31 s' WHERE purge_id = :id"
        with self.owner.begin() as connection:
            connection.execute(text(statement), {"id": purge_id})


@contextmanager
def staged(database: TestDatabase, folder: Path, number: int, s3: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """A stage on a fresh database; `number`, from 1, tells its queue and its buckets from others'.

    `s3` names another object store than the embedded one: one that keeps versions.
    """
    with ExitStack() as cleanup:
        direct = isolated(database, number, s3)
        services = build(replace(database.settings("api"), **_settings(direct)))
        cleanup.callback(services.redis.close)
        cleanup.callback(services.controller.engine.dispose)
        owner = create_engine(database.url("migration"))
        cleanup.callback(owner.dispose)
        points = Points(lambda: runner.kill())
        environment, proxies = _proxied(cleanup, direct, folder, points)
        runner = Runner(environment, folder / "worker.log")
        cleanup.callback(runner.close)
        yield Stage(folder.name, services, owner, points, runner, folder / "worker.log", proxies)


def isolated(database: TestDatabase, number: int, s3: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of processes on this database, with a queue and new buckets that no others use."""
    found = {**database.environment(), **(s3 or {})}
    buckets = {f"{PREFIX}S3_{each}_BUCKET": f"{each.lower()}-{number}" for each in ("EXPORT", "LEDGER")}
    client = s3_client(found)
    for bucket in buckets.values():
        client.create_bucket(Bucket=bucket)
        if s3 is not None:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    queue = found[f"{PREFIX}REDIS_URL"].replace("db=0", f"db={number}")
    return {**found, **buckets, f"{PREFIX}REDIS_URL": queue}


def s3_client(environment: Mapping[str, str]) -> Any:
    """boto3's client of the object store, for what the product never does."""
    names = {"endpoint_url": "ENDPOINT", "region_name": "REGION", "aws_access_key_id": "ACCESS_KEY_ID",
             "aws_secret_access_key": "SECRET_ACCESS_KEY"}  # fmt: skip
    return boto3.client("s3", **{name: environment[f"{PREFIX}S3_{each}"] for name, each in names.items()})


def sockets_of(environment: Mapping[str, str]) -> Path:
    """The folder of PostgreSQL's socket."""
    return Path(str(make_url(environment[WORKER_DATABASE]).query["host"]))


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
    endpoint = cleanup.enter_context(store.proxied(direct[f"{PREFIX}S3_ENDPOINT"], points))
    changed = {
        WORKER_DATABASE: at_socket(direct[WORKER_DATABASE], folder),
        f"{PREFIX}REDIS_URL": queue.replace(quote(str(server)), quote(str(place))),
        f"{PREFIX}S3_ENDPOINT": endpoint,
    }
    return {**direct, **changed}, (database, cache)
