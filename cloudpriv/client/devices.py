"""Devices that a file names and the server does not know yet."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from cloudpriv.client.api import ApiClient, ApiError
from cloudpriv.client.rows import Record

# An account that is not there or has no such name, a device that is there or has an unacceptable name, an account
# that takes no changes: each concerns some records only, and the server says the same of those.
_LEFT_TO_THE_SERVER = frozenset({404, 409, 422, 423})


@dataclass(frozen=True)
class _Account:
    account_id: str
    devices: set[str]


class Devices:
    """The devices of the accounts that come up, by any of their names; each account is read once."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._accounts: dict[str, _Account | None] = {}

    def create_missing(self, records: Iterable[Record]) -> int:
        """Create every device that `records` name and their account lacks; how many were new.

        What cannot be created is left out: the server judges its records. Raises ApiError for a client that may
        not read or create devices at all.
        """
        wanted: dict[str, set[str]] = defaultdict(set)
        for record in records:
            wanted[str(record.get("account", ""))].add(str(record.get("device", "")))
        return sum(self._create(account, names - {""}) for account, names in wanted.items() if account)

    def _create(self, name: str, devices: set[str]) -> int:
        if name not in self._accounts:
            self._accounts[name] = self._read(name)
        account = self._accounts[name]
        if account is None:
            return 0
        missing = sorted(devices - account.devices)
        account.devices.update(missing)
        return sum(self._post(account.account_id, device) for device in missing)

    def _post(self, account_id: str, device: str) -> bool:
        body = {"serial": device, "name": device}
        try:
            self._client.request("POST", f"/v1/accounts/{account_id}/devices", json=body)
        except ApiError as refusal:
            if refusal.status not in _LEFT_TO_THE_SERVER:
                raise
            return False
        return True

    def _read(self, name: str) -> _Account | None:
        try:
            account_id = self._account_id(name)
            return _Account(account_id, self._devices(account_id))
        except ApiError as refusal:
            if refusal.status not in _LEFT_TO_THE_SERVER:
                raise
            return None

    def _account_id(self, name: str) -> str:
        """The account's id by its id or name."""
        with suppress(ValueError):
            return str(UUID(name))
        return str(self._client.request("POST", "/v1/accounts/lookup", json={"account_name": name}).json()["id"])

    def _devices(self, account_id: str) -> set[str]:
        found = self._client.items(f"/v1/accounts/{account_id}/devices")
        return {device[key] for device in found for key in ("id", "serial", "common_name") if device.get(key)}
