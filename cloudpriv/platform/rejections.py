"""What is said of the records of a batch that are not taken, in either plane: never a value of theirs."""

from typing import NamedTuple

from msgspec import Struct


class Rejection(Struct, order=True, frozen=True):
    """A record that is not taken: its index in the batch, a stable code, and which member is wrong."""

    index: int
    code: str
    detail: str


class Fault(NamedTuple):
    """Why a record is not taken."""

    code: str
    detail: str
