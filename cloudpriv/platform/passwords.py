"""Password hashing: argon2id by argon2-cffi (RFC 9106), so many at once and no more."""

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cloudpriv.platform.errors import BusyError

WAIT_SECONDS = 3.0  # longer queues than this are refused: each hash takes some 0.1 s of CPU


class Passwords:
    """Hashes and checks passwords; raises BusyError rather than queue without end."""

    def __init__(self, *, time_cost: int, memory_kib: int, parallelism: int, concurrency: int) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        self._slots = BoundedSemaphore(concurrency)
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
