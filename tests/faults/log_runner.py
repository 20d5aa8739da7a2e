"""An API and a worker of the processor plane for a single request or task, each as a process of its own.

    python -m tests.faults.log_runner

Each line on standard input is JSON: `{"token", "key", "body"}` is a batch that a device sends, `{"account", "device"}` a
device to compact. Printed are the id of the process that does it, and its exit code: 0 for what was acknowledged,
REFUSED for what was not.
"""

import gc
import json
import os
import sys
from itertools import islice
from typing import Any, Final
from uuid import UUID

from flask import Flask

from cloudpriv import config
from cloudpriv.app import create_processor_app
from cloudpriv.bootstrap import ProcessorServices, build_processor
from cloudpriv.platform.errors import DomainError
from cloudpriv.platform.logs import configure_logging
from cloudpriv.processor.storage import compaction

REFUSED: Final = 3
FIRST: Final = 4  # are done by this process itself, as in `tests.faults.runner`: one of each kind, and again


def main() -> None:
    configure_logging("ERROR")
    api, worker = (build_processor(config.load_processor(role)) for role in ("api", "worker"))
    app = create_processor_app(api)
    lines = iter(sys.stdin.readline, "")
    for line in islice(lines, FIRST):
        code = _work(app, worker, json.loads(line))
        _disconnect(api, worker)
        _tell(os.getpid(), code)
    gc.freeze()  # what is there by now is shared with all children
    for line in lines:
        child = os.fork()
        if child == 0:
            os._exit(_work(app, worker, json.loads(line)))  # to tidy up would take longer than all the rest
        _tell(child)
        _, status = os.waitpid(child, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _work(app: Flask, worker: ProcessorServices, asked: dict[str, Any]) -> int:
    if "token" in asked:
        return _send(app, asked)
    return _compact(worker, UUID(asked["account"]), UUID(asked["device"]))


def _send(app: Flask, asked: dict[str, Any]) -> int:
    headers = {"Authorization": f"Bearer {asked['token']}", "Idempotency-Key": f'"{asked["key"]}"'}
    answer = app.test_client().post("/v1/logdata/points", json=asked["body"], headers=headers)
    return 0 if answer.status_code == 200 else REFUSED


def _compact(worker: ProcessorServices, account_id: UUID, device_id: UUID) -> int:
    try:
        compaction.carry_out(worker.plane, worker.objects, worker.clock, account_id, device_id)
    except DomainError:
        return REFUSED
    return 0


def _disconnect(*all_services: ProcessorServices) -> None:
    """No connection crosses a fork."""
    for services in all_services:
        services.plane.engine.dispose()
        if services.teller is not None:
            services.teller.engine.dispose()
        services.redis.close()
        services.objects._s3.close()


def _tell(*numbers: int) -> None:
    for each in numbers:
        print(each, flush=True)  # noqa: T201  the answer to the test that started us


if __name__ == "__main__":
    main()
