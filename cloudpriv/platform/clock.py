"""The one place that reads the clock. Everything else takes ``now``."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

APART: Final = timedelta(seconds=60)  # more between two hosts is a fault: NTP keeps them within a second
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Boot:
    """Which start of the host this is, and the seconds since then, sleep included: a clock that nobody can set."""

    id: str
    seconds: float


def utc_now() -> datetime:
    """The time of the host, aware, in UTC, to the microsecond."""
    return datetime.now(UTC)


def boot() -> Boot:
    """How long the host has been up. Where it has no boot id (not Linux), every process is a start of its own."""
    return Boot(_boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic())


@cache
def _boot_id() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.is_file() else f"process {time.time_ns()}"
