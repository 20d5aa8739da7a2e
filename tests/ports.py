"""Ports for the servers of tests, which no other process of tests gets as well."""

import socket
from itertools import count
from random import SystemRandom

# Below those that the system gives to whoever connects to something, or listens anywhere: 32,768 and up.
LOWEST, NUMBER = 20_000, 12_000
turns = count(SystemRandom().randrange(NUMBER))


def free_port(beside: int = 1) -> int:
    """The first of so many ports beside each other on which nobody listens, taken for as long as this process lives."""
    for turn in turns:
        first = LOWEST + turn * beside % (NUMBER - beside)
        if all(_takes(port) for port in range(first, first + beside)):
            return first
    raise AssertionError("it counts for ever")


def _takes(port: int) -> bool:
    """Whether the port is free and now ours: by a name that the kernel gives to one process, and takes back at its end."""
    with socket.socket(socket.AF_UNIX) as mark, socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            mark.bind(f"\0cloudpriv, port of a test: {port}")
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        mark.detach()
        return True
