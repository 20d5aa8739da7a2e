"""A worker for a single job, as a process of its own: forked, so that it starts in milliseconds, from one that waits here.

    python -m tests.faults.runner

Each line on standard input is the id of a purge. Printed are the id of the process that carries it on, and its exit code.
"""

import os
import sys

import cloudpriv.metadata  # noqa: F401  as workers.main does
from cloudpriv import config
from cloudpriv.app import configure_logging
from cloudpriv.bootstrap import build
from workers import jobs


def main() -> None:
    settings = config.load("worker")
    configure_logging("WARNING")
    jobs.SERVICES.set(build(settings))  # connects to nothing yet
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            jobs.run_purge(line.strip())
            os._exit(0)  # to tidy up would take longer than all the rest
        print(child, flush=True)  # noqa: T201  the answer to the test that started us
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  as above


if __name__ == "__main__":
    main()
