"""The planes as tests name them."""

from typing import Final

from cloudpriv.database import PlaneName

PLANES: Final[tuple[PlaneName, PlaneName]] = ("controller", "processor")
OTHER: Final[dict[PlaneName, PlaneName]] = {"controller": "processor", "processor": "controller"}
BEGINNING: Final[dict[PlaneName, str]] = {"controller": "CLOUDPRIV_", "processor": "CLOUDPRIV_PROCESSOR_"}
