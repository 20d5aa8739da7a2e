"""A worker for a single job, as a process of its own: forked, so that it starts in milliseconds, from one that waits here.

    python -m tests.faults.runner

Each line on standard input is the id of a purge. Printed are the id of the process that carries it on, and its exit code.
The first is carried on by this process itself: so, as in a worker that has run for a while, no statement is made up anew.
"""

import gc
import os
import sys

import cloudpriv.metadata  # noqa: F401  as workers.main does
from cloudpriv import config
from cloudpriv.bootstrap import Services, build
from cloudpriv.platform.logs import configure_logging
from workers import jobs


def main() -> None:
    configure_logging("WARNING")
    services = build(config.load("worker"))
    jobs.SERVICES.set(services)
    jobs.run_purge(sys.stdin.readline().strip())
    _disconnect(services)
    gc.freeze()  # what is there by now is shared with all children
    _tell(os.getpid(), 0)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            jobs.run_purge(line.strip())
            os._exit(0)  # to tidy up would take longer than all the rest
        _tell(child)
        _, status = os.waitpid(child, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _disconnect(services: Services) -> None:
    """No connection crosses a fork."""
    services.controller.engine.dispose()
    if services.eraser is not None:
        services.eraser.engine.dispose()
    services.redis.close()
    services.exports._s3.close()


def _tell(*numbers: int) -> None:
    for each in numbers:
        print(each, flush=True)  # noqa: T201  the answer to the test that started us


if __name__ == "__main__":
    main()
