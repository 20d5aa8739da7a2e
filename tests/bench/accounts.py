"""What the figures are measured with: accounts with devices and people, their traffic by the million, a backend's token."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import urllib3
from sqlalchemy import text

from cloudpriv.bootstrap import Services
from tests.bench.stage import Stage
from tests.factories import NOW, make_account, make_device, make_person

SINCE: Final = datetime.fromisoformat("2026-01-01T00:00:00Z")
# Counters and keys as different from each other as real ones, so that nothing compresses better than real traffic does.
FILL: Final = """
INSERT INTO traffic (account_id, session_key, device_id, person_id, started_at, ended_at, bytes_from_device,
    bytes_to_device, protocol, remote_address, end_reason, received_at)
SELECT :account, uuid_send(gen_random_uuid()), devices[1 + i % cardinality(devices)], people[1 + i % cardinality(people)],
    start, start + abs(hashint4(i) % 7200) * interval '1 s', abs(hashint4(i + 1)::bigint), abs(hashint4(i + 2)::bigint) * 7,
    (ARRAY['openvpn/udp', 'openvpn/tcp', 'radius'])[1 + i % 3], inet '198.18.0.0' + abs(hashint4(i / 20) % 65536),
    'User-Request', start + interval '2 h'
FROM generate_series(1, :number) i,
    LATERAL (SELECT :since + i * interval '37.123457 s' AS start) s,
    (SELECT CAST(:devices AS uuid[]) AS devices, CAST(:people AS uuid[]) AS people) ids
""".replace("::", "\\:\\:")


@dataclass(frozen=True)
class Site:
    """An account with its devices and its people."""

    account_id: UUID
    devices: dict[UUID, str]
    people: dict[UUID, str]


def make_site(owner: Services, *, devices: int, people: int, created_at: datetime = NOW) -> Site:
    """A new account with so many devices, by their serials, and people, by their usernames."""
    account_id = make_account(owner, created_at=created_at).row.account_id
    made = [make_device(owner, account_id) for _ in range(devices)]
    added = [make_person(owner, account_id) for _ in range(people)]
    return Site(
        account_id,
        {each.row.device_id: each.identity["serial"] for each in made},
        {each.row.person_id: each.identity["username"] for each in added},
    )


def fill(owner: Services, site: Site, number: int, since: datetime) -> None:
    """Sessions of the site's devices and people, one every 37 s."""
    values = {"account": site.account_id, "number": number, "since": since}
    ids = {"devices": list(site.devices), "people": list(site.people)}
    with owner.controller.engine.begin() as connection:
        connection.execute(text(FILL), {**values, **ids})


def settle(stage: Stage) -> None:
    """Let the database tidy up and count what was filled in, so that it does not in the middle of a round."""
    engine = stage.owner.controller.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("VACUUM (ANALYZE) traffic"))


def token(port: int, credentials: tuple[str, str]) -> str:
    """An access token of a registered backend, valid for longer than a figure takes."""
    answer = urllib3.request(
        "POST",
        f"http://127.0.0.1:{port}/oauth2/token",
        body=b"grant_type=client_credentials",
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            **urllib3.make_headers(basic_auth=":".join(credentials)),
        },
    )
    found: str = msgspec.json.decode(answer.data)["access_token"]
    return found
