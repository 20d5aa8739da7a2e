"""What can go wrong with the embedded stack; the messages are written for the operator's terminal."""

from pathlib import Path


class StackError(Exception):
    """The embedded stack cannot do what was asked; the message says why and holds no secret."""


class StackInUse(StackError):  # noqa: N818  it names a state of the folder, not a fault
    """Another live process, `pid`, runs a stack on the folder."""

    def __init__(self, folder: Path, pid: int) -> None:
        super().__init__(f"{folder} is in use by process {pid}")
        self.pid = pid


class StartFailed(StackError):  # noqa: N818  the past tense already says error
    """A server did not start; the message ends with the last lines of its log."""
