"""Password hashing: argon2id by argon2-cffi (RFC 9106), so many at once and no more; and what is too easy to be hashed."""

from collections.abc import Iterable
from pathlib import Path
from threading import BoundedSemaphore
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cloudpriv.platform.breached import is_breached
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.guessable import is_guessable

WAIT_SECONDS = 3.0  # longer queues than this are refused: each hash takes some 0.1 s of CPU


class Passwords:
    """Hashes, checks and judges passwords; raises BusyError rather than queue without end.

    `breached` is the file of passwords that became public, if there is one.
    """

    def __init__(self, *, time_cost: int, memory_kib: int, parallelism: int, concurrency: int,
                 breached: Path | None = None) -> None:  # fmt: skip
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        self._slots = BoundedSemaphore(concurrency)
        self._breached = breached
        self._decoy = self._hasher.hash("no account has this password")

    def hash(self, password: str) -> str:
        """The argon2id PHC string of a password."""
        with self._slot():
            return self._hasher.hash(password)

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one of `stored`; without a stored hash it takes as long and is False."""
        with self._slot():
            try:
                return self._hasher.verify(stored or self._decoy, password) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, stored: str) -> bool:
        """Whether `stored` was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def fault(self, password: str, about: Iterable[str]) -> Literal["guessable", "breached"] | None:
        """Why a new password is none: few guesses find it, with what is known `about` the person, or it became public.

        Raises BusyError also while the file of breached passwords cannot be read.
        """
        with self._slot():
            if is_guessable(password, about):
                return "guessable"
            return "breached" if self._breached is not None and is_breached(self._breached, password) else None

    def _slot(self) -> "_Slot":
        return _Slot(self._slots)


class _Slot:
    def __init__(self, slots: BoundedSemaphore) -> None:
        self._slots = slots

    def __enter__(self) -> None:
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            raise BusyError("Too many password checks at once.")

    def __exit__(self, *_: object) -> None:
        self._slots.release()
