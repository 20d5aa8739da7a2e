"""A database and a bucket of log data of their own, and an API and a worker that reach them through proxies alone."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.config import DATABASE_SETTING, PROCESSOR_PREFIX
from tests.faults import postgres, store, valkey
from tests.faults.points import Points
from tests.faults.sockets import Proxy
from tests.faults.stage import at_socket, sockets_of
from tests.stack import TestDatabase

DATABASES: Final = [PROCESSOR_PREFIX + DATABASE_SETTING[role] for role in ("api", "worker")]
ENDPOINT: Final = f"{PROCESSOR_PREFIX}S3_ENDPOINT"
QUEUE: Final = f"{PROCESSOR_PREFIX}REDIS_URL"


@dataclass(frozen=True, eq=False)
class LogStage:
    """Where appending and compacting meet faults: `api` and `worker` reach the servers directly (see `stage.Proxied`)."""

    api: ProcessorServices
    worker: ProcessorServices
    points: Points
    environment: Mapping[str, str]
    log: Path
    proxies: tuple[Proxy, ...]


@contextmanager
def staged(database: TestDatabase, folder: Path) -> Iterator[LogStage]:
    """A stage on a fresh database."""
    with ExitStack() as cleanup:
        api, worker = (database.processor(role) for role in ("api", "worker"))
        for services in (api, worker):
            cleanup.callback(services.redis.close)
            cleanup.callback(services.plane.engine.dispose)
        if worker.teller is not None:
            cleanup.callback(worker.teller.engine.dispose)
        points, log = Points(), folder / "processes.log"
        environment, proxies = _proxied(cleanup, database.environment(), folder, points)
        yield LogStage(api, worker, points, environment, log, proxies)


def _proxied(
    cleanup: ExitStack, direct: Mapping[str, str], folder: Path, points: Points
) -> tuple[dict[str, str], tuple[Proxy, ...]]:
    server, place = Path(urlsplit(direct[QUEUE]).path), folder / "valkey.sock"
    database = cleanup.enter_context(postgres.proxied(sockets_of(direct, DATABASES[0]), folder, points))
    cache = cleanup.enter_context(valkey.proxied(server, place, points))
    endpoint = cleanup.enter_context(store.proxied(direct[ENDPOINT], points))
    changed = {
        **{name: at_socket(direct[name], folder) for name in DATABASES},
        QUEUE: direct[QUEUE].replace(quote(str(server)), quote(str(place))),
        ENDPOINT: endpoint,
    }
    return {**direct, **changed}, (database, cache)
