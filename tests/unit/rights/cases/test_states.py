"""The states of requests: what is drawn is possible, and nothing else is."""

from datetime import date
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloudpriv.platform.errors import ConflictError
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.states import EVENTS, STATES, Event, check_extension, next_state
from tests.unit.test_docs import rows

DOCS = Path(__file__).parents[4] / "docs"
DAY = date(2026, 7, 1)


class Model:
    """The drawing in other words: how far a request has come, and whether it has ended. It knows no table."""

    WAY = ("received", "identity_verified", "in_progress", "completed")
    STEPS = ("verify", "begin", "complete")

    def __init__(self) -> None:
        self.come, self.end = 0, ""

    @property
    def name(self) -> str:
        return self.end or self.WAY[self.come]

    def do(self, event: str) -> bool:
        """Whether the event is possible; if so, it has happened."""
        if self.end or self.come == len(self.STEPS):
            return False
        if event in self.STEPS:
            possible = self.STEPS[self.come] == event
            self.come += possible
            return possible
        self.end = {"refuse": "refused", "withdraw": "withdrawn", "extend": ""}[event]
        return True


class Sequences(RuleBasedStateMachine):
    """Any events in any order, against the model."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.state = Model(), "received"

    @rule(event=st.sampled_from(EVENTS))
    def happens(self, event: Event) -> None:
        """An event that is possible leads where the model goes; any other is refused and changes nothing."""
        if self.model.do(event):
            self.state = next_state(self.state, event)
        else:
            with pytest.raises(ConflictError):
                next_state(self.state, event)

    @invariant()
    def same(self) -> None:
        """Both are in the same state."""
        assert self.state == self.model.name


TestSequences = Sequences.TestCase


def drawn() -> dict[tuple[str, str], str]:
    """The transitions as docs/rights.md has them in its table."""
    head = [event.strip("`") for event in EVENTS]
    return {
        (row[0].strip("`"), event): cell.strip("`")
        for row in rows(DOCS / "rights.md", "state")
        for event, cell in zip(head, row[1:], strict=True)
        if cell != "-"
    }


def test_the_table_in_the_docs_is_the_machine() -> None:
    assert drawn() == dict(states.TRANSITIONS)


def test_the_drawing_names_every_state_and_every_event() -> None:
    drawing = (DOCS / "request-states.svg").read_text()
    assert [name for name in (*STATES, *EVENTS) if f">{name}<" not in drawing] == []


@pytest.mark.parametrize(("state", "event"), sorted(product(STATES, EVENTS) - states.TRANSITIONS.keys()))
def test_a_transition_that_is_not_drawn_is_refused(state: str, event: Event) -> None:
    with pytest.raises(ConflictError):
        next_state(state, event)


def test_what_is_open_can_end_in_each_way_and_what_has_ended_stays() -> None:
    assert set(states.OPEN) | set(states.ENDED) == set(STATES)
    assert {state for state, _ in states.TRANSITIONS} == set(states.OPEN)
    assert set(states.RUNNING) < set(states.OPEN)


@given(st.text(max_size=20), st.sampled_from(EVENTS))
def test_nothing_leaves_a_state_that_is_none(state: str, event: Event) -> None:
    if state not in STATES:
        with pytest.raises(ConflictError):
            next_state(state, event)


@given(st.booleans(), st.dates(), st.dates())
def test_the_time_is_extended_once_and_within_the_first_month(extended: bool, due_on: date, today: date) -> None:
    if not extended and today <= due_on:
        check_extension(extended=extended, due_on=due_on, today=today)
    else:
        with pytest.raises(ConflictError):
            check_extension(extended=extended, due_on=due_on, today=today)


def test_the_due_day_itself_is_in_time() -> None:
    check_extension(extended=False, due_on=DAY, today=DAY)
