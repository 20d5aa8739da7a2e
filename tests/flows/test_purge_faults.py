"""Every message of a purge to a server fails once, in every way: after a retry all is gone, once, and nothing else is."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from cloudpriv.embedded.stack import Stack
from tests.faults.canary import CANARY, left, plant
from tests.faults.stage import Stage, staged
from tests.faults.sweep import STORE, begun, cases, share
from tests.stack import fresh_database

PLAIN, VERSIONED = 3, 2  # stages with the embedded object store, and with one that keeps versions


@contextmanager
def versioned_store() -> Iterator[dict[str, str]]:
    """The settings of an object store whose buckets keep versions."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "ENDPOINT": f"http://{host}:{port}",
        "REGION": "us-east-1",
        "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "test",
    }
    try:
        yield {f"CLOUDPRIV_S3_{name}": value for name, value in values.items()}
    finally:
        server.stop()


@pytest.fixture
def stages(stack: Stack, tmp_path: Path) -> Iterator[list[Stage]]:
    """PLAIN stages, then VERSIONED ones, each with another account that has everything."""
    with ExitStack() as cleanup:
        versioned = cleanup.enter_context(versioned_store())
        stores = [None] * PLAIN + [versioned] * VERSIONED
        databases = [cleanup.enter_context(fresh_database(stack)) for _ in stores]
        made = []
        for number, (database, s3) in enumerate(zip(databases, stores, strict=True), start=1):
            folder = tmp_path / str(number)
            folder.mkdir()
            made.append(cleanup.enter_context(staged(database, folder, number, s3)))
        yield made


@pytest.mark.timeout(600)  # where other work leaves it little of the machine
def test_after_a_fault_at_any_message_a_retry_erases_all_and_once(
    stages: list[Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as cleanup, ThreadPoolExecutor(len(stages)) as threads:
        sweeps = list(threads.map(lambda stage: cleanup.enter_context(begun(stage)), stages))
        plain, versioned = sweeps[:PLAIN], sweeps[PLAIN:]
        began = time.monotonic()
        all_of_it = cases(plain[0].purge(None).labels)
        of_versions = cases(versioned[0].purge(None).labels, STORE)
        for done in share(plain, all_of_it, threads) + share(versioned, of_versions, threads):
            done.result()
    assert [f"{fault} on {each.stage.name}" for each in sweeps for fault in each.faults_found()] == []

    took = time.monotonic() - began
    for name, some in (("all servers", all_of_it), ("an object store with versions", of_versions)):
        numbers, kinds = {case.number for case in some}, Counter(str(case.fault) for case in some)
        with capsys.disabled():
            print(f"\nswept {len(numbers)} points of {name} ({dict(kinds)}) in {took:.0f} s")  # noqa: T201  it is a result


def test_the_look_for_canaries_finds_them_wherever_they_are(stages: list[Stage]) -> None:
    for stage in (stages[0], stages[-1]):
        planted = plant(stage.services, stage.owner)
        found = left(stage, [planted])
        assert {"devices", "holds", "requests", "traffic", "exports"} <= {place for place, mark in found if CANARY in mark}
        assert {"accounts", "account_keys", "credentials", "people", "queue"} <= {place for place, _ in found}
