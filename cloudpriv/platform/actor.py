"""Who acts: a backend's client, a worker, or an operator at the command line."""

from dataclasses import dataclass
from typing import Literal

Service = Literal["talk2m", "intesis"]
SERVICES: tuple[Service, ...] = ("talk2m", "intesis")


@dataclass(frozen=True)
class Actor:
    """The party on whose behalf a unit of work runs.

    `service` is the only service whose accounts the actor sees; None sees all (workers and operators).
    """

    kind: Literal["client", "worker", "operator"]
    id: str
    service: Service | None = None
    scopes: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Kind and id in one: how a row says who planned, approved or placed something."""
        return f"{self.kind}:{self.id}"


WORKER = Actor("worker", "worker")
OPERATOR = Actor("operator", "cli")
