"""Run PostgreSQL, Valkey and an S3 server for as long as a context lasts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloudpriv.embedded import postgres, s3, valkey
from cloudpriv.embedded.credentials import Credentials, credentials_in, keyring_file_in, signing_key_file_in
from cloudpriv.embedded.folder import held, socket_folder
from cloudpriv.embedded.process import Server, await_answer, stop

EXPORT_BUCKET = "cloudpriv-exports"


@dataclass(frozen=True)
class Stack:
    """A running stack: its folder, the settings that name its servers, their versions and process ids."""

    folder: Path
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    pids: Mapping[str, int]


@contextmanager
def running(folder: Path, *, durable: bool = True) -> Iterator[Stack]:
    """Run the three servers on the data in `folder`, answering before the body starts and gone after it ends.

    Made if absent, with fresh credentials (files of mode 0600); a later start finds data and credentials again.
    Nothing listens beyond loopback and unix sockets. The servers die with this process, however it ends, and with
    the thread that entered. Raises StackInUse while another process runs on `folder`, StartFailed with the end of
    the server's log when one does not start. `durable=False` trades safety in a power cut for speed in tests.
    """
    folder = folder.resolve()
    with ExitStack() as cleanup:
        cleanup.enter_context(held(folder))
        sockets = cleanup.enter_context(socket_folder(folder))
        servers: list[Server] = []
        cleanup.callback(_stop_if_owner, os.getpid(), servers)
        yield _start(folder, sockets, servers, durable=durable)


def _start(folder: Path, sockets: Path, servers: list[Server], *, durable: bool) -> Stack:
    secret = credentials_in(folder)
    logs = folder / "log"
    logs.mkdir(mode=0o700, exist_ok=True)
    # The quick ones first, to come up while PostgreSQL makes its cluster.
    servers.append(
        valkey.start(folder / "valkey", logs / "valkey.log", sockets, secret.valkey_password, durable=durable)
    )
    (folder / "s3").mkdir(mode=0o700, exist_ok=True)
    servers.append(
        s3.start(folder / "s3", logs / "s3.log", secret.s3_access_key_id, secret.s3_secret_access_key, EXPORT_BUCKET)
    )
    servers.append(postgres.start(folder / "postgres", logs / "postgres.log", sockets, secret, durable=durable))
    cache, objects, database = servers
    endpoint = s3.await_endpoint(objects)
    cache_url = valkey.url(sockets, secret.valkey_password)
    versions = {
        postgres.NAME: await_answer(database, lambda: postgres.version(sockets, secret.owner_password)),
        valkey.NAME: await_answer(cache, lambda: valkey.version(cache_url)),
        s3.NAME: s3.version(folder),
    }
    pids = {server.name: server.process.pid for server in servers}
    return Stack(folder, _environment(folder, sockets, secret, endpoint), versions, pids)


def _environment(folder: Path, sockets: Path, secret: Credentials, endpoint: str) -> dict[str, str]:
    return {
        "CLOUDPRIV_DATABASE_URL": postgres.url(sockets, postgres.API, secret.api_password),
        "CLOUDPRIV_WORKER_DATABASE_URL": postgres.url(sockets, postgres.WORKER, secret.worker_password),
        "CLOUDPRIV_MIGRATION_DATABASE_URL": postgres.url(sockets, postgres.OWNER, secret.owner_password),
        "CLOUDPRIV_REDIS_URL": valkey.url(sockets, secret.valkey_password),
        "CLOUDPRIV_S3_ENDPOINT": endpoint,
        "CLOUDPRIV_S3_REGION": s3.REGION,
        "CLOUDPRIV_S3_ACCESS_KEY_ID": secret.s3_access_key_id,
        "CLOUDPRIV_S3_SECRET_ACCESS_KEY": secret.s3_secret_access_key,
        "CLOUDPRIV_S3_EXPORT_BUCKET": EXPORT_BUCKET,
        "CLOUDPRIV_KEYRING_FILE": str(keyring_file_in(folder)),
        "CLOUDPRIV_SIGNING_KEY_FILE": str(signing_key_file_in(folder)),
    }


def _stop_if_owner(owner: int, servers: list[Server]) -> None:
    # A forked child (a gunicorn or RQ worker) that leaves through this frame must not stop its parent's servers.
    if os.getpid() == owner:
        stop(servers)
