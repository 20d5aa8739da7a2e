"""Where a fault was raised: all that is told of it beside its class, since texts may quote personal data (law 6)."""

from traceback import walk_tb
from typing import Final

OURS: Final = ("cloudpriv", "workers")


def place(fault: BaseException) -> str:
    """Where it was raised, as `module:line`: the innermost place in our own code, if it passed any."""
    frames = [(str(frame.f_globals.get("__name__")), line) for frame, line in walk_tb(fault.__traceback__)]
    own = [(module, line) for module, line in frames if module.partition(".")[0] in OURS]
    module, line = (own or frames or [("nowhere", 0)])[-1]
    return f"{module}:{line}"
