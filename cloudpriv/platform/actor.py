"""Who acts: a backend's client, a customer's token or person, a worker, or an operator at the command line."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

Service = Literal["talk2m", "intesis"]
SERVICES: tuple[Service, ...] = ("talk2m", "intesis")
Kind = Literal["client", "worker", "operator", "device", "reader", "owner", "member"]
# What each kind of caller may do on the processor plane. What a token lacks there, nobody can grant it: a client of the
# vendor has the one scope that leads to what an instruction of the customer opens, and to nothing without one.
LOG_DATA_SCOPES: Final[dict[Kind, frozenset[str]]] = {
    "device": frozenset({"logdata:append"}),
    "reader": frozenset({"logdata:oversee", "logdata:read", "logdata:delete", "logdata:instruct"}),
    # The controller plane issues an owner's session. It reads no point and changes none: whoever could forge one has to
    # make a token first, which the customer sees.
    "owner": frozenset({"logdata:oversee", "logdata:tokens"}),
    "member": frozenset(),
    "client": frozenset({"logdata:support"}),
}


# What an account holder may do on the controller plane: use their rights, in their own account. An owner sees all of it, a
# member what is about that person.
HOLDER: Final = "holder"


@dataclass(frozen=True)
class Actor:
    """The party on whose behalf a unit of work runs.

    `service` is the only service whose accounts the actor sees; None sees all (workers and operators). `account_id` is the
    only account that a customer's token or person sees, and `device_id` the only device that a device's token writes for.
    `session_id` is the session that a person's token names.
    """

    kind: Kind
    id: str
    service: Service | None = None
    scopes: frozenset[str] = frozenset()
    account_id: UUID | None = None
    device_id: UUID | None = None
    session_id: UUID | None = None

    @property
    def name(self) -> str:
        """Kind and id in one: how a row says who planned, approved or placed something."""
        return f"{self.kind}:{self.id}"


WORKER = Actor("worker", "worker")
OPERATOR = Actor("operator", "cli")
