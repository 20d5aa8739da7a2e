"""Frames: a stream sealed piece by piece under its object's name, so that none can be cut, swapped or altered unseen."""

from collections.abc import Iterator
from typing import Final

from cloudpriv.platform.keys import DataKey, KeyFault

FRAME: Final = 1024 * 1024  # bytes that are sealed together
SEALING: Final = 28  # bytes that a sealed frame is longer


def sealed(key: DataKey, object_key: str, content: Iterator[bytes]) -> Iterator[bytes]:
    """What `opened` opens again: sealed frames, each but the last of FRAME bytes."""
    for number, frame in enumerate(_frames(content)):
        yield key.seal_object(_name(object_key, number), frame)


def opened(key: DataKey, object_key: str, size: int, parts: Iterator[bytes]) -> Iterator[bytes]:
    """The `size` bytes that were sealed, frame by frame. Raises KeyFault for what was altered or cut."""
    left, number, held = size, 0, bytearray()
    while left:
        length = min(left, FRAME)
        while len(held) < length + SEALING:
            more = next(parts, b"")
            if not more:
                raise KeyFault("an archive is cut short")
            held += more
        yield key.open_object(_name(object_key, number), bytes(held[: length + SEALING]))
        del held[: length + SEALING]
        left, number = left - length, number + 1


def _frames(parts: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for part in parts:
        held += part
        while len(held) >= FRAME:
            yield bytes(held[:FRAME])
            del held[:FRAME]
    if held:
        yield bytes(held)


def _name(object_key: str, number: int) -> str:
    return f"{object_key}#{number}"
