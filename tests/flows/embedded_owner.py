"""A process that owns an embedded stack: started by the tests, watched, and killed.

    python -m tests.flows.embedded_owner FOLDER [fork]

Prints one line of JSON about the stack when it runs, then waits for a signal. With `fork`, a child first leaves
through the stack's context, as a forked worker does.
"""

import json
import os
import signal
import sys
from pathlib import Path

from cloudpriv.embedded.signals import stop_on_sigterm
from cloudpriv.embedded.stack import running


def _let_a_child_leave() -> None:
    child = os.fork()
    if child == 0:
        sys.exit(0)
    os.waitpid(child, 0)


def main(folder: Path, *, fork: bool) -> None:
    with stop_on_sigterm(), running(folder, durable=False) as stack:
        if fork:
            _let_a_child_leave()
        about = {"uid": os.geteuid(), "pids": dict(stack.pids), "environment": dict(stack.environment)}
        print(json.dumps(about), flush=True)  # noqa: T201  the answer to the test that started us
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), fork="fork" in sys.argv[2:])
