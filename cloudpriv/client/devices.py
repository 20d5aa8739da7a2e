"""Devices that a file names and the server does not know yet."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

from cloudpriv.client.api import ApiClient, ApiError
from cloudpriv.client.rows import Record


class Devices:
    """The devices of the accounts that come up, by any of their names; each account is read once."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._accounts: dict[str, str | None] = {}
        self._known: dict[str, set[str]] = {}

    def create_missing(self, records: Iterable[Record]) -> int:
        """Create every device that `records` name and their account lacks; how many were new.

        A device that the server refuses (it is there, or its name is unacceptable) or whose account it does
        not know is left out: the server judges its records. Raises ApiError for any other refusal.
        """
        wanted: dict[str, set[str]] = defaultdict(set)
        for record in records:
            wanted[str(record.get("account", ""))].add(str(record.get("device", "")))
        return sum(self._create(account, names) for account, names in wanted.items())

    def _create(self, account: str, names: set[str]) -> int:
        account_id = self._account_id(account)
        if account_id is None:
            return 0
        if account_id not in self._known:
            self._known[account_id] = self._names(account_id)
        missing = sorted(names - self._known[account_id])
        self._known[account_id].update(missing)
        return sum(self._post(account_id, name) for name in missing)

    def _post(self, account_id: str, name: str) -> bool:
        device = {"serial": name, "name": name}
        try:
            self._client.request("POST", f"/v1/accounts/{account_id}/devices", json=device)
        except ApiError as refusal:
            if refusal.status not in {409, 422}:
                raise
            return False
        return True

    def _names(self, account_id: str) -> set[str]:
        found = self._client.items(f"/v1/accounts/{account_id}/devices")
        return {device[key] for device in found for key in ("id", "serial", "common_name") if device.get(key)}

    def _account_id(self, account: str) -> str | None:
        """The account's id by its id or name; None where the server shows no such account."""
        if account not in self._accounts:
            self._accounts[account] = self._look_up(account)
        return self._accounts[account]

    def _look_up(self, account: str) -> str | None:
        with suppress(ValueError):
            return str(UUID(account))
        found = next(self._client.items("/v1/accounts", account_name=account), None)
        return None if found is None else str(found["id"])
