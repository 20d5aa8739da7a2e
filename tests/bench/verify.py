"""verify_vs_argon2: POST /v1/credentials/verify beside argon2 alone, at the parameters and the concurrency of production."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from argon2 import PasswordHasher

from cloudpriv.controller import credentials
from cloudpriv.demo.servers import register_backend
from tests.bench import load
from tests.bench.accounts import token
from tests.bench.measure import Figure, beside, seconds
from tests.bench.stage import Stage, api
from tests.factories import make_account, make_person, transaction

NAME, USERNAME, PASSWORD = "verify", "kim", "correct horse battery staple"
CHECKS: Final = 40  # of a round


def measure(stage: Stage) -> Iterator[Figure]:
    """Passwords checked a second, all of them right, as many at once as the server lets through."""
    settings, number = stage.owner.settings, stage.sized(CHECKS)
    hasher = PasswordHasher(settings.argon2_time_cost, settings.argon2_memory_kib, settings.argon2_parallelism)
    stored = hasher.hash(PASSWORD)
    _make_person(stage, stored)
    with api(stage) as port, ThreadPoolExecutor(settings.hash_concurrency) as threads:
        request = _request(token(port, register_backend(stage.owner, "talk2m")))

        def ours(_: int) -> float:
            return load.requests_per_second(port, request, connections=settings.hash_concurrency, number=number)

        def alone(_: int) -> float:
            return number / seconds(lambda: list(threads.map(lambda _: hasher.verify(stored, PASSWORD), range(number))))

        yield beside("verify_vs_argon2", "checks/s", ours, alone)


def _make_person(stage: Stage, stored: str) -> None:
    account_id = make_account(stage.owner, account_name=NAME).row.account_id
    person_id = make_person(stage.owner, account_id, username=USERNAME).row.person_id
    with transaction(stage.owner) as tx:
        credentials.set_credentials(tx, account_id, person_id, stored, None)


def _request(bearer: str) -> bytes:
    body = msgspec.json.encode({"account_name": NAME, "username": USERNAME, "password": PASSWORD})
    return load.post("/v1/credentials/verify", bearer, body)
