"""What can go wrong with the embedded stack. Messages are written for the operator's terminal."""


class StackError(Exception):
    """The embedded stack cannot do what was asked; the message says why and names no secret."""


class StackInUse(StackError):
    """Another live process holds the folder.

    `pid` is that process.
    """

    def __init__(self, folder: str, pid: int) -> None:
        super().__init__(f"{folder} is in use by process {pid}")
        self.pid = pid


class StartFailed(StackError):
    """A server did not start; the message ends with the last lines of its log."""
