"""Random sequences of what can be done to requests, through the services, against a model that knows no database."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudpriv.bootstrap import Services
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError
from cloudpriv.policy.periods import answer_due_on, extended_due_on
from cloudpriv.rights import requests
from tests.exports import IDENTIFIED
from tests.factories import NOW, make_account, transaction

MOST: Final = 4  # requests in one sequence
ALIKE: Final = ("access", "objection")
OPEN: Final = {"received", "identity_verified", "in_progress"}
LATE: Final = timedelta(days=45)


@dataclass
class Asked:
    """A request as the model has it."""

    type_: str
    due_on: date
    state: str = "received"
    tied: int | None = None
    extended: bool = False

    def runs(self) -> bool:
        return self.state in ("identity_verified", "in_progress")


class Model:
    """Requests of one account, and what each operation does to them; False where it is refused."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def receive(self, type_: str, *, verified: bool) -> None:
        self.asked.append(Asked(type_, answer_due_on(NOW, "BE")))
        if verified:
            self.verify(len(self.asked) - 1)

    def verify(self, number: int) -> bool:
        this = self.asked[number]
        if this.state != "received":
            return False
        running = [
            at for at, each in enumerate(self.asked) if each.runs() and each.tied is None and each.type_ == this.type_
        ]
        this.tied = min(running, default=None)
        this.state = "in_progress" if this.tied is not None or this.type_ == "access" else "identity_verified"
        return True

    def begin(self, number: int) -> bool:
        return self._move(number, {"identity_verified"}, "in_progress")

    def complete(self, number: int) -> bool:
        return self._end(number, {"in_progress"}, "completed")

    def refuse(self, number: int) -> bool:
        return self._end(number, OPEN, "refused")

    def withdraw(self, number: int) -> bool:
        if not self._move(number, OPEN, "withdrawn"):
            return False
        heirs = self._tied(number)
        for each in heirs:
            self.asked[each].tied = None if each == heirs[0] else heirs[0]
        return True

    def extend(self, number: int, today: date) -> bool:
        this = self.asked[number]
        is_open = this.state in OPEN
        if not is_open or this.tied is not None or this.extended or today > this.due_on:
            return False
        for each in (this, *(self.asked[at] for at in self._tied(number))):
            if not each.extended and today <= each.due_on:
                each.extended, each.due_on = True, extended_due_on(NOW, "BE")
        return True

    def _tied(self, number: int) -> list[int]:
        return [at for at, each in enumerate(self.asked) if each.tied == number and each.state == "in_progress"]

    def _move(self, number: int, allowed: set[str], to: str) -> bool:
        if self.asked[number].state not in allowed:
            return False
        self.asked[number].state = to
        return True

    def _end(self, number: int, allowed: set[str], to: str) -> bool:
        if self.asked[number].tied is not None and self.asked[number].runs():
            return False
        ends = self._tied(number)
        if not self._move(number, allowed, to):
            return False
        for each in ends:
            self.asked[each].state = to
        return True


STEPS: Final = ("verify", "begin", "complete", "refuse", "withdraw", "extend")
operations = st.one_of(
    st.tuples(st.just("receive"), st.sampled_from(ALIKE), st.booleans()),
    st.tuples(st.sampled_from(STEPS), st.integers(0, MOST - 1), st.booleans()),
)


class World:
    """An account whose requests go through the services as they go through the model."""

    def __init__(self, services: Services) -> None:
        self.services, self.policy = services, services.policy
        self.account_id = make_account(services).row.account_id
        self.model, self.ids = Model(), list[UUID]()

    def receive(self, type_: str, *, verified: bool) -> None:
        """One more request, up to MOST."""
        if len(self.ids) == MOST:
            return
        with transaction(self.services) as tx:
            identity = IDENTIFIED if verified else None
            known = requests.receive(tx, self.policy, self.account_id, type_, identity=identity)
        self.ids.append(known.row.request_id)
        self.model.receive(type_, verified=verified)

    def do(self, step: str, number: int, *, late: bool) -> None:
        """A step that both take, or both refuse; extensions are tried `late` too."""
        if number >= len(self.ids):
            return
        now = NOW + LATE if late and step == "extend" else NOW
        more = (now.date(),) if step == "extend" else ()
        possible = getattr(self.model, step)(number, *more)
        with suppress(ConflictError) if not possible else nullcontext(), transaction(self.services, now=now) as tx:
            self.step(tx, step, self.ids[number])
            assert possible, step

    def step(self, tx: Tx, step: str, request_id: UUID) -> None:
        """The same by the services."""
        calls: dict[str, Callable[[], object]] = {
            "verify": lambda: requests.verify(tx, self.policy, request_id, IDENTIFIED),
            "begin": lambda: requests.begin(tx, self.policy, request_id),
            "complete": lambda: requests.complete(tx, self.policy, request_id, "done"),
            "refuse": lambda: requests.refuse(tx, self.policy, request_id, "excessive", "too often"),
            "withdraw": lambda: requests.withdraw(tx, request_id),
            "extend": lambda: requests.extend(tx, self.policy, request_id, "many of them"),
        }
        calls[step]()

    def check(self) -> None:
        """Both are where the other is."""
        with transaction(self.services) as tx:
            rows = [each.row for each in requests.list_requests(tx, self.account_id, after=None, limit=MOST)]
        asked = self.model.asked
        assert [row.status for row in rows] == [each.state for each in asked]
        assert [row.due_on for row in rows] == [each.due_on for each in asked]
        assert [row.duplicate_of for row in rows] == [None if each.tied is None else self.ids[each.tied] for each in asked]
        assert [row.completed_at is None for row in rows] == [each.state in OPEN for each in asked]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(operations, min_size=4, max_size=20))
def test_any_sequence_leads_where_the_model_goes(services: Services, sequence: list[tuple[str, Any, bool]]) -> None:
    world = World(services)
    for step, what, flag in sequence:
        if step == "receive":
            world.receive(what, verified=flag)
        else:
            world.do(step, what, late=flag)
    world.check()
