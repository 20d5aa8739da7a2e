"""An account holder's client: signs in at the controller plane's API, and is known by that at the processor plane's."""

from collections.abc import Iterator
from typing import Any, Final, Self
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from cloudpriv.client.api import BUSY, PAGE, TIMEOUT, Response, server_of, success

# What was answered was not carried out, so that it may be sent again; what got no answer may have been.
RETRIES: Final = urllib3.Retry(
    total=3,
    read=0,
    other=0,
    redirect=0,
    allowed_methods=None,
    status_forcelist=BUSY,
    backoff_factor=0.5,
    raise_on_status=False,
)


class Holder:
    """Speaks to both planes' APIs as one person of an account, for the ten minutes of a session.

    A context manager that closes its connections. Raises ApiError for any answer but a success, ConnectionError without one.
    """

    def __init__(self, url: str, log_data_url: str, *, retries: urllib3.Retry = RETRIES) -> None:
        self._url = server_of(url)
        self._log_data_url = server_of(log_data_url)
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=retries)
        self._session = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def sign_in(self, service: str, account_name: str, username: str, password: str) -> dict[str, Any]:
        """Begin a session: `{account_id, person_id, role, …}`."""
        who = {"service": service, "account_name": account_name, "username": username, "password": password}
        begun: dict[str, Any] = self._send("POST", f"{self._url}/v1/session", who).json()
        self._session = begun["access_token"]
        return begun

    def request(self, method: str, path: str, json: object = None) -> Response:
        """One request to the processor plane's API in the session."""
        return self._send(method, self._log_data_url + path, json)

    def items(self, path: str) -> Iterator[Any]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
            answer = self.request("GET", f"{path}?{urlencode(page)}").json()
            yield from answer["items"]
            cursor = answer["next_cursor"]
            if not cursor:
                return

    def _send(self, method: str, url: str, json: object) -> Response:
        headers = {"Accept": "application/json"}
        if self._session:
            headers["Authorization"] = f"Bearer {self._session}"
        if json is not None:
            headers["Content-Type"] = "application/json"
        body = None if json is None else msgspec.json.encode(json)
        try:
            return success(self._pool.request(method, url, body=body, headers=headers, redirect=False))
        except HTTPError as fault:
            raise ConnectionError(f"no answer from {url.partition('/v1/')[0]}: {type(fault).__name__}") from fault
