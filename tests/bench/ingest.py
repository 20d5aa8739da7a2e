"""ingest_vs_copy: traffic over HTTP beside COPY of the same rows into the same table, its indexes and foreign keys."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import cycle, islice
from random import Random
from typing import Any, Final, cast

import psycopg

from cloudpriv.client.traffic import batches, send_batches
from cloudpriv.controller.traffic_records import session_key
from cloudpriv.demo.servers import connect, register_backend
from tests.bench.accounts import SINCE, Site, make_site
from tests.bench.measure import Figure, beside, seconds
from tests.bench.stage import Stage, api

RECORDS: Final = 40_000  # of a round
DEVICES, PEOPLE = 50, 5
COPY: Final = """
COPY traffic (account_id, session_key, device_id, person_id, started_at, ended_at, bytes_from_device, bytes_to_device,
    protocol, remote_address, end_reason, received_at) FROM STDIN
"""

Row = dict[str, Any]


def measure(stage: Stage) -> Iterator[Figure]:
    """Records a second: one client of the API and one process of it, and one COPY that is handed finished lines."""
    number = stage.sized(RECORDS)
    fed, filled = (make_site(stage.owner, devices=DEVICES, people=PEOPLE) for _ in range(2))
    with api(stage) as port, connect(f"http://127.0.0.1:{port}", register_backend(stage.owner, "talk2m")) as client:

        def ours(turn: int) -> float:
            rows = list(islice(_rows(fed, turn), number))
            taken = 0

            def send() -> None:
                nonlocal taken
                taken = sum(verdict.accepted for _, verdict in send_batches(client, batches(rows)))

            speed = number / seconds(send)
            if taken != number:
                raise RuntimeError(f"{number - taken} records were not taken")
            return speed

        def copy(turn: int) -> float:
            lines = b"".join(_line(filled, row) for row in islice(_rows(filled, turn), number))
            return number / seconds(lambda: _copy(stage, lines))

        yield beside("ingest_vs_copy", "records/s", ours, copy)


def _rows(site: Site, turn: int) -> Iterator[Row]:
    """Records as a backend tells them, of sessions that no other round has."""
    random = Random(turn)
    for number, (device, username) in enumerate(
        zip(cycle(site.devices.values()), cycle(site.people.values()), strict=False)
    ):
        start = SINCE + timedelta(seconds=37 * number, microseconds=random.randrange(1_000_000))
        yield {
            "account": str(site.account_id),
            "device": device,
            "session": f"{turn}-{number}",
            "source": "bench",
            "started_at": start.isoformat(),
            "duration_s": random.randrange(7200),
            "bytes_from_device": random.randrange(1 << 31),
            "bytes_to_device": random.randrange(1 << 34),
            "protocol": random.choice(("openvpn/udp", "openvpn/tcp", "radius")),
            "remote_address": f"198.18.{random.randrange(256)}.{random.randrange(256)}",
            "username": username,
            "end_reason": "User-Request",
        }


def _line(site: Site, row: Row) -> bytes:
    """The record as a line of COPY, with a key as random as a session's."""
    device_id = next(each for each, serial in site.devices.items() if serial == row["device"])
    person_id = next(each for each, username in site.people.items() if username == row["username"])
    start = datetime.fromisoformat(row["started_at"])
    end = start + timedelta(seconds=row["duration_s"])
    key = rf"\\x{session_key(row['source'], row['session'])}"
    cells = (site.account_id, key, device_id, person_id, start, end, row["bytes_from_device"], row["bytes_to_device"])
    rest = (row["protocol"], row["remote_address"], row["end_reason"], SINCE)
    return ("\t".join(map(str, cells + rest)) + "\n").encode()


def _copy(stage: Stage, lines: bytes) -> None:
    with stage.owner.controller.engine.begin() as connection:
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        with driver.cursor().copy(COPY) as copy:
            copy.write(lines)
