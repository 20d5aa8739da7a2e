"""Run PostgreSQL, Valkey and an S3 server for as long as a context lasts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cloudpriv.embedded import postgres, s3, valkey
from cloudpriv.embedded.credentials import (
    Credentials,
    certificate_file_in,
    credentials_in,
    keyring_file_in,
    public_key_file_of,
    signing_key_file_in,
)
from cloudpriv.embedded.folder import hold, make_private_folder, release, remove_private_folder
from cloudpriv.embedded.identity import choose
from cloudpriv.embedded.leftovers import end_leftovers
from cloudpriv.embedded.process import Server, await_answer, stop

EXPORT_BUCKET = "cloudpriv-exports"
LEDGER_BUCKET = "cloudpriv-ledger"
LOG_DATA_BUCKET = "cloudpriv-logdata"
PROCESSOR_PREFIX: Final = "CLOUDPRIV_PROCESSOR_"

PlaneName = Literal["controller", "processor"]
TAKEN_UP: Final = ("AWS_", "PG")


def of_plane(environment: Mapping[str, str], plane: PlaneName) -> dict[str, str]:
    """`environment` with that plane's settings and none of the other's; variables that are not ours stay.

    But for those that clients of AWS and PostgreSQL take up by themselves: what they name would be open to both planes.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(TAKEN_UP)
        and (not name.startswith("CLOUDPRIV_") or name.startswith(PROCESSOR_PREFIX) == (plane == "processor"))
    }


@dataclass(frozen=True)
class Stack:
    """A running stack: its folder, the settings that name its servers, their versions and process ids."""

    folder: Path
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    pids: Mapping[str, int]

    def of_plane(self, plane: PlaneName) -> dict[str, str]:
        """The settings that a process of `plane` needs, without any of the other's."""
        return of_plane(self.environment, plane)


@contextmanager
def running(folder: Path, *, durable: bool = True, namespaces: bool = True) -> Iterator[Stack]:
    """Run the servers, of S3 one for each plane, on the data in `folder`: all answer before the body, all are gone after it.

    The folder is made if absent, with fresh credentials in files of mode 0600; a later start finds its data
    and credentials again. Nothing listens beyond loopback and unix sockets. The servers die with this
    process, however it ends, and with the thread that entered.

    Raises StackInUse while another process runs on `folder`, StartFailed with the end of the server's log
    when one does not start, StackError when the folder is another user's. `durable=False` gives up safety in
    a power cut for speed in tests; `namespaces=False` has root run PostgreSQL as the user `nobody` outright.
    """
    folder, owner = folder.resolve(), os.getpid()
    with ExitStack() as cleanup:
        try:
            cleanup.callback(release, hold(folder))
            yield _start(folder, cleanup, durable=durable, namespaces=namespaces)
        finally:
            # A forked child (a gunicorn or RQ worker) may leave through here: its parent's servers stay.
            if os.getpid() != owner:
                cleanup.pop_all()


def _start(folder: Path, cleanup: ExitStack, *, durable: bool, namespaces: bool) -> Stack:
    places = {name: _sub_folder(folder, name) for name in (postgres.NAME, valkey.NAME, s3.NAME, s3.LOG_DATA)}
    end_leftovers({*places.values(), *(place / name for place in places.values() for name in ("data", "data.new"))})
    identity = choose(postgres.program(), namespaces=namespaces)
    cleanup.callback(remove_private_folder, folder)
    private = make_private_folder(folder, identity)
    secret = credentials_in(folder)
    servers: dict[str, Server] = {}
    cleanup.callback(lambda: stop(servers.values()))
    # The quick ones first, to come up while PostgreSQL makes its cluster.
    servers[valkey.NAME] = valkey.start(places[valkey.NAME], private, secret.valkey_password, durable=durable)
    pair = (secret.s3_access_key_id, secret.s3_secret_access_key)
    servers[s3.NAME] = s3.start(s3.NAME, places[s3.NAME], *pair, (EXPORT_BUCKET, LEDGER_BUCKET))
    pair = (secret.processor_s3_access_key_id, secret.processor_s3_secret_access_key)
    servers[s3.LOG_DATA] = s3.start(s3.LOG_DATA, places[s3.LOG_DATA], *pair, (LOG_DATA_BUCKET,))
    servers[postgres.NAME] = postgres.start(places[postgres.NAME], private, secret, identity, durable=durable)
    return _await(folder, private, secret, servers)


def _await(folder: Path, private: Path, secret: Credentials, servers: Mapping[str, Server]) -> Stack:
    cache = valkey.url(private, secret.valkey_password)
    environment = _controller(folder, private, secret) | _processor(folder, private, secret)
    for setting, name in (("CLOUDPRIV_S3_ENDPOINT", s3.NAME), (f"{PROCESSOR_PREFIX}S3_ENDPOINT", s3.LOG_DATA)):
        environment[setting] = s3.await_endpoint(servers[name])
    versions = {
        postgres.NAME: await_answer(servers[postgres.NAME], lambda: postgres.version(private, secret.owner_password)),
        valkey.NAME: await_answer(servers[valkey.NAME], lambda: valkey.version(cache)),
        s3.NAME: s3.version(folder),
    }
    return Stack(folder, environment, versions, {name: server.process.pid for name, server in servers.items()})


def _controller(folder: Path, private: Path, secret: Credentials) -> dict[str, str]:
    return {
        "CLOUDPRIV_DATABASE_URL": postgres.url(private, postgres.API, secret.api_password),
        "CLOUDPRIV_WORKER_DATABASE_URL": postgres.url(private, postgres.WORKER, secret.worker_password),
        "CLOUDPRIV_MIGRATION_DATABASE_URL": postgres.url(private, postgres.OWNER, secret.owner_password),
        "CLOUDPRIV_ERASER_DATABASE_URL": postgres.url(private, postgres.ERASER, secret.eraser_password),
        "CLOUDPRIV_REDIS_URL": valkey.url(private, secret.valkey_password),
        "CLOUDPRIV_S3_REGION": s3.REGION,
        "CLOUDPRIV_S3_ACCESS_KEY_ID": secret.s3_access_key_id,
        "CLOUDPRIV_S3_SECRET_ACCESS_KEY": secret.s3_secret_access_key,
        "CLOUDPRIV_S3_EXPORT_BUCKET": EXPORT_BUCKET,
        "CLOUDPRIV_S3_LEDGER_BUCKET": LEDGER_BUCKET,
        "CLOUDPRIV_KEYRING_FILE": str(keyring_file_in(folder)),
        "CLOUDPRIV_SIGNING_KEY_FILE": str(signing_key_file_in(folder)),
        "CLOUDPRIV_PROOF_KEY_FILE": str(signing_key_file_in(folder, "proof-key")),
    }


def _processor(folder: Path, private: Path, secret: Credentials) -> dict[str, str]:
    settings = {
        "DATABASE_URL": postgres.url(private, postgres.PROCESSOR_API, secret.processor_api_password),
        "WORKER_DATABASE_URL": postgres.url(private, postgres.PROCESSOR_WORKER, secret.processor_worker_password),
        "MIGRATION_DATABASE_URL": postgres.url(private, postgres.PROCESSOR_OWNER, secret.processor_owner_password),
        "TELLER_DATABASE_URL": postgres.url(private, postgres.TELLER, secret.teller_password),
        "REDIS_URL": valkey.url(private, secret.valkey_password, database=1),
        "S3_REGION": s3.REGION,
        "S3_ACCESS_KEY_ID": secret.processor_s3_access_key_id,
        "S3_SECRET_ACCESS_KEY": secret.processor_s3_secret_access_key,
        "S3_BUCKET": LOG_DATA_BUCKET,
        "KEYRING_FILE": str(keyring_file_in(folder, "processor-keyring")),
        "TOKEN_KEY_FILE": str(public_key_file_of(signing_key_file_in(folder))),
        "CERTIFICATE_FILE": str(certificate_file_in(folder)),
    }
    return {PROCESSOR_PREFIX + name: value for name, value in settings.items()}


def _sub_folder(folder: Path, name: str) -> Path:
    made = folder / name.lower()
    made.mkdir(mode=0o700, exist_ok=True)
    return made
