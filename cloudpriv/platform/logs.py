"""Logs: events as JSON lines that hold ids only (law 6)."""

import logging
import sys
from traceback import extract_tb
from typing import Any

import msgspec
import structlog
from structlog.typing import ExcInfo


def configure_logging(level: str) -> None:
    """Log events of `level` and above as JSON lines on standard error; they hold ids only."""
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_places),
        structlog.processors.JSONRenderer(serializer=_as_json),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _as_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _places(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """Where an exception and its causes came from; their texts and the values of variables may be personal data."""
    fault: BaseException | None = exc_info[1]
    found = []
    while fault is not None:
        frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(fault.__traceback__)]
        found.append({"type": type(fault).__name__, "frames": frames})
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    return found
