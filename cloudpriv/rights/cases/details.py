"""What was asked and said in a request: sealed under the account's key, since people write what they like."""

from collections.abc import Mapping
from typing import Any, Final

from cloudpriv.platform.keys import DataKey
from cloudpriv.rights.tables import REQUEST, SubjectRequest

# The rest is what was asked.
OURS: Final = frozenset({"identity", "extension", "decision", "outcome", "language"})


def open_details(key: DataKey, row: SubjectRequest) -> dict[str, Any]:
    """What the row has sealed; empty where it has nothing, or had, and was emptied."""
    return {} if row.details is None else key.open(row.request_id, REQUEST, row.details)


def seal_details(key: DataKey, row: SubjectRequest, details: Mapping[str, Any]) -> None:
    """Have the row hold these."""
    row.details = key.seal(row.request_id, REQUEST, dict(details)) if details else None


def add_details(key: DataKey, row: SubjectRequest, **said: Any) -> None:
    """Have the row hold these beside what it holds."""
    seal_details(key, row, {**open_details(key, row), **said})


def forget_values(key: DataKey, row: SubjectRequest) -> None:
    """Have the row hold which fields were to be rectified, and no more the values: neither what was done nor not."""
    details = open_details(key, row)
    changes = details.pop("changes", None)
    if changes is not None:
        seal_details(key, row, {**details, "fields": sorted(changes)})


def asked(details: Mapping[str, Any]) -> dict[str, Any]:
    """The part of them that the person said."""
    return {name: value for name, value in details.items() if name not in OURS}
