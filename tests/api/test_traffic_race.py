"""Traffic and erasure at the same moment: one of them wins, wholly.

Decided by the lock on the account's row, which both take: under read committed neither sees the other before its commit, so
isolation alone would let a record in beside the erasure.
"""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import Engine, event, text

from cloudpriv.bootstrap import Services
from tests.backend import Backend
from tests.factories import make_account, make_device
from tests.purges import LONG_AGO, await_blocked, order, purge_of, rows_of, run
from tests.stack import TestDatabase

ROUNDS = 200
FAVOUR = 0.005
WHOLE = {"accounts": 1, "account_keys": 1, "directory": 1, "devices": 1, "notices": 1, "traffic": 1}


def test_of_traffic_and_erasure_at_the_same_moment_one_wins_wholly(
    app: Flask, database: TestDatabase, services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    backend, random = Backend(app, database, "talk2m"), Random(7)
    won: Counter[str] = Counter()
    favour = 0.0  # s, to whoever lost: however fast each of them is here, both win in the end
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            account_id = make_account(services, created_at=LONG_AGO).row.account_id
            make_device(services, account_id, serial="4711")
            purge_id = order(services, owner_engine, account_id, services.clock())
            start = Barrier(2)
            head_start = favour + random.uniform(-0.01, 0.015)  # s: from well before the erasure to well after it

            def erase(purge_id: UUID = purge_id, start: Barrier = start, wait: float = max(0.0, -head_start)) -> None:
                start.wait()
                time.sleep(wait)
                run(worker_services, purge_id, worker_services.clock())

            def tell(account_id: UUID = account_id, start: Barrier = start, wait: float = max(0.0, head_start)) -> Any:
                start.wait()
                time.sleep(wait)
                return send(backend, account_id, services)

            erased, told = pool.submit(erase), pool.submit(tell)
            answer = told.result()
            erased.result()
            winner = verdict(answer, purge_of(services, purge_id).status, rows_of(owner_engine, account_id))
            won[winner] += 1
            favour += FAVOUR if winner == "traffic" else -FAVOUR
    assert set(won) == {"traffic", "erasure"}, f"both have to win sometimes, or nothing was tried: {won}"


def send(backend: Backend, account_id: UUID, services: Services) -> dict[str, Any]:
    """The API's verdict on a record of now."""
    started = services.clock().isoformat()
    record = {"account": str(account_id), "device": "4711", "source": "radius", "session": "one", "started_at": started}
    answer = backend.post("/v1/traffic", [record])
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def verdict(answer: dict[str, Any], status: str, left: dict[str, int]) -> str:
    """Who won. Fails when nobody did, or not wholly."""
    if answer["accepted"] == 1:
        assert (status, left) == ("cancelled", WHOLE)
        return "traffic"
    assert [each["code"] for each in answer["rejected"]] == ["unknown_account"], answer
    assert (status, left) == ("done", {})
    return "erasure"


def test_a_record_that_waits_for_the_erasure_is_refused_as_gone(
    app: Flask, database: TestDatabase, services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    backend = Backend(app, database, "talk2m")
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    make_device(services, account_id, serial="4711")
    purge_id = order(services, owner_engine, account_id, services.clock())
    answers: list[dict[str, Any]] = []
    sender = threading.Thread(target=lambda: answers.append(send(backend, account_id, services)))
    with owner_engine.begin() as eraser:  # the first transaction of an erasure, held open
        eraser.execute(text("SELECT FROM accounts WHERE account_id = :id FOR UPDATE"), {"id": account_id})
        sender.start()
        assert await_blocked(owner_engine, lambda: not sender.is_alive())
        eraser.execute(text("UPDATE accounts SET status = 'purging' WHERE account_id = :id"), {"id": account_id})
    sender.join()
    assert (answers[0]["accepted"], len(answers[0]["rejected"])) == (0, 1)
    assert "traffic" not in rows_of(owner_engine, account_id)
    assert purge_of(services, purge_id).status == "planned"


def test_a_record_of_an_account_erased_between_two_looks_is_refused_as_gone(
    app: Flask, database: TestDatabase, services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    backend = Backend(app, database, "talk2m")
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    make_device(services, account_id, serial="4711")
    purge_id = order(services, owner_engine, account_id, services.clock())

    def erase(*call: Any) -> None:
        if "FROM devices" in call[2] and purge_of(worker_services, purge_id).status == "planned":
            run(worker_services, purge_id, worker_services.clock())

    event.listen(services.controller.engine, "before_cursor_execute", erase)
    try:
        answer = send(backend, account_id, services)
    finally:
        event.remove(services.controller.engine, "before_cursor_execute", erase)
    assert verdict(answer, purge_of(services, purge_id).status, rows_of(owner_engine, account_id)) == "erasure"
