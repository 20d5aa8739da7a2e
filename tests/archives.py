"""Whether an archive is whole: for unzip, for Python, for a spreadsheet, by its manifest, and beside the table it is of."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine

from cloudpriv.audit import notes
from cloudpriv.bootstrap import Services
from cloudpriv.rights import requests
from cloudpriv.rights.archive import check as archive_check
from tests.factories import transaction

CHUNK: Final = 1024 * 1024
PATIENCE: Final = 600.0
AS_IN_THE_CSV: Final = """
    CREATE TEMPORARY TABLE exported (account_id uuid, session text, device_id uuid, person_id uuid, started_at timestamptz,
        ended_at timestamptz, bytes_from_device bigint, bytes_to_device bigint, protocol text, remote_address inet,
        end_reason text, received_at timestamptz)
"""
COLUMNS: Final = """account_id, session_key, device_id, person_id, started_at, ended_at, bytes_from_device, bytes_to_device,
    protocol, remote_address, end_reason, received_at"""
DIFFERENT: Final = f"""
    WITH held AS (SELECT {COLUMNS} FROM traffic WHERE account_id = %(account)s),
    read AS (SELECT {COLUMNS.replace("session_key", "decode(session, 'hex')")} FROM exported)
    SELECT (SELECT count(*) FROM (TABLE held EXCEPT ALL TABLE read) missing)
         + (SELECT count(*) FROM (TABLE read EXCEPT ALL TABLE held) added)
"""  # noqa: S608  the names above


def saved(services: Services, export_id: UUID, target: Path) -> Path:
    """The archive of a ready export in a file."""
    with transaction(services, now=services.clock()) as tx:
        key = requests.open_archive(tx, export_id)
    with target.open("wb") as file:
        file.writelines(services.exports.get_stream(key)[1])
    return target


def require_whole(services: Services, archive: Path) -> dict[str, Any]:
    """Its manifest, once unzip, Python, and whoever has the key found nothing wrong."""
    subprocess.run(["unzip", "-tqq", str(archive)], check=True, timeout=PATIENCE)
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
    vkey = notes.verifier_key("example.com/log", services.require_proof_key()).text
    return archive_check.check(archive, vkey)


def rows_that_differ(owner: Engine, archive: Path, account_id: UUID) -> int:
    """How many rows of traffic are in the table or in the archive, and not in the other."""
    with owner.begin() as connection, zipfile.ZipFile(archive) as opened, opened.open("traffic.csv") as rows:
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        with driver.cursor() as cursor:
            cursor.execute(AS_IN_THE_CSV)
            with cursor.copy("COPY exported FROM STDIN (FORMAT csv, HEADER)") as copy:
                while block := rows.read(CHUNK):
                    copy.write(block)
            cursor.execute(DIFFERENT, {"account": account_id})
            found: tuple[int] = cast("tuple[int]", cursor.fetchone())
            return found[0]


def spreadsheet() -> str:
    """Gnumeric's converter, which reads as its spreadsheet does; installed where it is missing and may be, else a skip."""
    if shutil.which("ssconvert") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (["update"], ["install", "-y", "--no-install-recommends", "gnumeric"]):
            subprocess.run(["apt-get", "-qq", *words], check=False, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    found = shutil.which("ssconvert")
    if found is None and os.geteuid() == 0:
        pytest.fail("ssconvert is not here, and apt-get did not install it (Debian: gnumeric)")
    if found is None:
        pytest.skip("ssconvert is not here (Debian: gnumeric), and cannot be installed by whoever runs this")
    return found


def opened_by_a_spreadsheet(archive: Path, member: str, folder: Path) -> list[str]:
    """The lines of a member as a spreadsheet shows its cells, after it has computed what it takes for formulas."""
    with zipfile.ZipFile(archive) as opened:
        opened.extract(member, folder)
    shown = folder / f"shown-{member}"
    command = [spreadsheet(), "--recalc", str(folder / member), str(shown)]
    subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True)
    return shown.read_text().splitlines()
