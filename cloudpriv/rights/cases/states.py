"""The states of a data subject's request: which event leads from which to which, and none else. Drawn in docs/rights.md."""

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal, get_args

from cloudpriv.platform.errors import ConflictError

State = Literal["received", "identity_verified", "in_progress", "completed", "refused", "withdrawn"]
Event = Literal["verify", "begin", "complete", "refuse", "withdraw", "extend"]

STATES: Final[tuple[State, ...]] = get_args(State)
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
OPEN: Final[tuple[State, ...]] = ("received", "identity_verified", "in_progress")
RUNNING: Final[tuple[State, ...]] = ("identity_verified", "in_progress")  # verified, and not ended
ENDED: Final[tuple[State, ...]] = ("completed", "refused", "withdrawn")

TRANSITIONS: Final[Mapping[tuple[str, Event], State]] = {
    ("received", "verify"): "identity_verified",
    ("received", "refuse"): "refused",
    ("received", "withdraw"): "withdrawn",
    ("received", "extend"): "received",
    ("identity_verified", "begin"): "in_progress",
    ("identity_verified", "refuse"): "refused",
    ("identity_verified", "withdraw"): "withdrawn",
    ("identity_verified", "extend"): "identity_verified",
    ("in_progress", "complete"): "completed",
    ("in_progress", "refuse"): "refused",
    ("in_progress", "withdraw"): "withdrawn",
    ("in_progress", "extend"): "in_progress",
}


def next_state(state: str, event: Event) -> State:
    """The state that an event leads to. Raises ConflictError where none is drawn: nothing leaves a state that is an end."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise ConflictError("The request is in a state in which that cannot be done.")
    return following


def check_extension(*, extended: bool, due_on: date, today: date) -> None:
    """Raises ConflictError for a second extension, and for one after the first month (GDPR Article 12(3))."""
    if extended:
        raise ConflictError("The time to answer was extended before; that is possible once.")
    if today > due_on:
        raise ConflictError("The first month is over; the time to answer can be extended no more.")
