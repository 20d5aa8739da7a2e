"""get_vs_hello: the authenticated and audited GET of an account beside an empty Flask route on the same server."""

from collections.abc import Iterator
from typing import Final

from cloudpriv.demo.servers import register_backend
from tests.bench import load
from tests.bench.accounts import token
from tests.bench.measure import Figure, beside
from tests.bench.stage import Stage, api, server
from tests.factories import make_account

CONNECTIONS: Final = 8  # as many as the server has threads: the commit of one then waits for the disk with those of others
REQUESTS: Final = 2_000  # of a round


def measure(stage: Stage) -> Iterator[Figure]:
    """Requests a second on connections that are kept."""
    account_id, number = make_account(stage.owner).row.account_id, stage.sized(REQUESTS)
    with api(stage) as ours, server(stage, "tests.bench.hello") as hello:
        request = load.get(f"/v1/accounts/{account_id}", token(ours, register_backend(stage.owner, "talk2m")))

        def speed(port: int, request: bytes) -> float:
            return load.requests_per_second(port, request, connections=CONNECTIONS, number=number)

        yield beside("get_vs_hello", "requests/s", lambda _: speed(ours, request), lambda _: speed(hello, load.get("/")))
