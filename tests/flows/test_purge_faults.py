"""Every message of a purge to a server fails once, in every way: after a retry all is gone, once, and nothing else is."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from cloudpriv.embedded.stack import Stack
from tests.faults.canary import CANARY, left, plant
from tests.faults.stage import Stage, staged
from tests.faults.sweep import STORE, cases, faults_found, others, sweep, without_fault
from tests.stack import fresh_database

PLAIN, VERSIONED = 3, 2  # stages with the embedded object store, and with one that keeps versions


@contextmanager
def versioned_store() -> Iterator[dict[str, str]]:
    """The settings of an object store whose buckets keep versions."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    values = {"ENDPOINT": f"http://{host}:{port}", "REGION": "us-east-1", "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
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


def test_after_a_fault_at_any_message_a_retry_erases_all_and_once(
    stages: list[Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    plain, versioned = stages[:PLAIN], stages[PLAIN:]
    spared = {stage: plant(stage.services, stage.owner) for stage in stages}
    before = {stage: others(stage, []) for stage in stages}
    clean = {stage: without_fault(stage) for stage in (plain[0], versioned[0])}
    all_of_it = cases(clean[plain[0]].labels)
    of_versions = cases(clean[versioned[0]].labels, lambda label: label.startswith(STORE))
    swept = sweep([(plain, all_of_it), (versioned, of_versions)])
    for stage, first in clean.items():
        swept[stage].append(first)

    assert [fault for stage in stages for fault in faults_found(stage, swept[stage], spared[stage])] == []
    assert {stage: others(stage, swept[stage]) for stage in stages} == before
    for name, some in (("all servers", all_of_it), ("an object store with versions", of_versions)):
        kinds = dict(Counter(str(case.fault) for case in some))
        told = f"{name}: {len({case.number for case in some})} points, {kinds}, {time.monotonic() - began:.0f} s"
        with capsys.disabled():
            print(f"\nswept {told}")  # noqa: T201  how many points were swept is a result


def test_the_look_for_canaries_finds_them_wherever_they_are(stages: list[Stage]) -> None:
    for stage in (stages[0], stages[-1]):
        planted = plant(stage.services, stage.owner)
        found = left(stage, [planted])
        assert {"devices", "holds", "requests", "traffic", "exports"} <= {place for place, mark in found if CANARY in mark}
        assert {"accounts", "account_keys", "credentials", "people", "queue"} <= {place for place, _ in found}
