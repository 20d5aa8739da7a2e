"""What keeps the planes' secrets apart where their processes are started: each is to find those of its own plane alone."""

from collections.abc import Mapping
from typing import Final

from cloudpriv.config import PREFIX, PROCESSOR_PREFIX, ProcessorSettings, SettingsError, secrets_of
from cloudpriv.database import PlaneName

OTHERS: Final[dict[PlaneName, tuple[PlaneName, frozenset[str]]]] = {
    "controller": ("processor", secrets_of(ProcessorSettings)),
    "processor": ("controller", secrets_of()),
}
S3_KEYS: Final = ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")


def require_own(environment: Mapping[str, str], planes: tuple[PlaneName, ...]) -> None:
    """Raises SettingsError where a process of one plane would find a secret of the other, or those of both the same S3 keys.

    Processes of both planes are started with the settings of both, which hand to each its own. Without S3 keys of its own,
    each would take those that the host has for everybody.
    """
    if len(planes) > 1:
        unset = [
            name for prefix in (PREFIX, PROCESSOR_PREFIX) for key in S3_KEYS if not environment.get(name := prefix + key)
        ]
        if unset:
            raise SettingsError(f"{', '.join(unset)}: without keys of its own a plane is to be started by itself")
        return
    other, secrets = OTHERS[planes[0]]
    found = sorted(name for name in secrets if environment.get(name))
    if found:
        raise SettingsError(
            f"{', '.join(found)}: is of the {other} plane, and no process of the {planes[0]} plane may know it"
        )
