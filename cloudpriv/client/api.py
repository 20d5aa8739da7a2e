"""A client of the HTTP API: access tokens, retries, problems as exceptions. Safe to share between threads."""

import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError

# Answers of a server or proxy that is busy or restarting: the same request may succeed later.
BUSY: Final = frozenset({429, 502, 503, 504})
# Waits 0, 1, 2, 4 … 30 s (about 90 s in all: a restart of the server), or what Retry-After asks, to 300 s.
RETRIES: Final = urllib3.Retry(
    total=8,
    redirect=0,
    allowed_methods=None,  # POST too: each carries an Idempotency-Key
    status_forcelist=BUSY,
    backoff_factor=0.5,
    backoff_jitter=0.5,
    backoff_max=30,
    retry_after_max=300,
    raise_on_status=False,
)
# A full batch may wait for a lock; a server that is away is known at once.
TIMEOUT: Final = urllib3.Timeout(connect=5, read=120)
CONNECTIONS: Final = 4
# A token is renewed this many seconds before it ends, so that it does not end on the way to the server.
MARGIN: Final = 30.0
PAGE: Final = 500  # the longest page that the server gives

Shape = TypeVar("Shape")


class ApiError(Exception):
    """An answer that is not a success: an RFC 9457 problem, an RFC 6749 error, or a bare status.

    `str()` is one line and, like the server's details, repeats nothing that was sent.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        type: str = "about:blank",  # noqa: A002 - the member's name in RFC 9457
        errors: tuple[Mapping[str, Any], ...] = (),
        request_id: str = "",
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.errors = errors
        self.request_id = request_id
        super().__init__(self._line())

    def _line(self) -> str:
        places = "; ".join(_fault(error) for error in self.errors[:3])
        line = ": ".join(part for part in (f"{self.status} {self.title}", self.detail, places) if part)
        return f"{line} (request {self.request_id})" if self.request_id else line


def _fault(error: Mapping[str, Any]) -> str:
    place = error.get("pointer") or error.get("parameter") or ""
    return f"{place} {error.get('detail', '')}".strip()


@dataclass(frozen=True, slots=True)
class Response:
    """A successful answer; the names of `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def decode(self, shape: type[Shape]) -> Shape:
        """The JSON body as `shape`. Raises ApiError where it is something else."""
        try:
            return msgspec.json.decode(self.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
            raise ApiError(self.status, "Unexpected answer", "its body has another shape") from fault

    def json(self) -> Any:
        """The JSON body."""
        return self.decode(Any)


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = 60.0  # RFC 6749, 5.1 only recommends it


class _Problem(msgspec.Struct):
    """RFC 9457, and RFC 6749, 5.2 from the token endpoint."""

    type: str = "about:blank"
    title: str = ""
    detail: str = ""
    errors: tuple[dict[str, Any], ...] = ()
    error: str = ""
    error_description: str = ""


class ApiClient:
    """Speaks to one server as one OAuth 2.0 client (client credentials, RFC 6749, 4.4).

    A context manager that closes its connections. `base_url` is `http(s)://host[:port][/prefix]`; https is
    verified by the system's certificates. `retries` bounds and paces what is sent again after a failed
    connection, a lost answer or a status of BUSY. Raises ConnectionError for an address of another form.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str,
        *,
        retries: urllib3.Retry = RETRIES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = server_of(base_url)
        self._basic = _basic(client_id, client_secret)
        self._retries = retries
        self._monotonic = monotonic
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=TIMEOUT)
        self._renewing = threading.Lock()
        self._token = ""
        self._token_ends = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        retry_on: frozenset[int] = frozenset(),
    ) -> Response:
        """Send one request with a valid token; `json` is encoded, `body` is JSON already.

        It is sent again as `retries` says (on the statuses of `retry_on`, too), and once with a new token
        after 401. A POST without Idempotency-Key gets one: sending it again does not repeat its effect.
        Raises ApiError for any other answer than 2xx, ConnectionError when there is none.
        """
        if json is not None:
            body = msgspec.json.encode(json)
        fields = {"Accept": "application/json", **_post_fields(method, body), **(headers or {})}
        token = self._access_token()
        answer = self._send(method, path, body, fields | _bearer(token), retry_on)
        if answer.status == 401:
            token = self._access_token(refused=token)
            answer = self._send(method, path, body, fields | _bearer(token), retry_on)
        return success(answer)

    def items(self, path: str, **query: str) -> Iterator[Any]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = {"limit": str(PAGE), **query} | ({"cursor": cursor} if cursor else {})
            answer = self.request("GET", f"{path}?{urlencode(page)}").json()
            yield from answer["items"]
            cursor = answer["next_cursor"]
            if not cursor:
                return

    def _access_token(self, refused: str = "") -> str:
        """A token with time left that is not `refused`; of several threads one fetches it."""
        with self._renewing:
            if self._token == refused or self._monotonic() >= self._token_ends:
                asked = self._monotonic()
                token = self._fetch_token()
                self._token = token.access_token
                self._token_ends = asked + max(token.expires_in - MARGIN, token.expires_in / 2)
            return self._token

    def _fetch_token(self) -> _Token:
        fields = {"Authorization": self._basic, "Content-Type": "application/x-www-form-urlencoded"}
        answer = self._send("POST", "/oauth2/token", b"grant_type=client_credentials", fields, frozenset())
        return success(answer).decode(_Token)

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], retry_on: frozenset[int]
    ) -> urllib3.BaseHTTPResponse:
        retries = self._retries.new(status_forcelist=BUSY | retry_on)
        try:
            return self._pool.request(
                method, self.base_url + path, body=body, headers=headers, retries=retries, redirect=False
            )
        except HTTPError as fault:
            raise ConnectionError(f"no answer from {self.base_url}: {_reason(fault)}") from fault


def server_of(address: str) -> str:
    """The address without a slash at its end. Raises ConnectionError for one of another form."""
    try:
        url = urllib3.util.parse_url(address)
    except LocationParseError:
        url = urllib3.util.Url()
    if url.scheme not in {"http", "https"} or not url.host or url.auth or url.query or url.fragment:
        raise ConnectionError("the server's address must look like https://host[:port]")
    return address.rstrip("/")


def _basic(client_id: str, client_secret: str) -> str:
    # Both are form-encoded first (RFC 6749, 2.3.1), so that a colon in the id does no harm.
    pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _post_fields(method: str, body: bytes | None) -> dict[str, str]:
    fields = {} if body is None else {"Content-Type": "application/json"}
    # A quoted string, as the IETF draft of the header has it.
    return fields | {"Idempotency-Key": f'"{uuid4()}"'} if method == "POST" else fields


def success(answer: urllib3.BaseHTTPResponse) -> Response:
    """The answer, if it is a success. Raises ApiError for any other."""
    if 200 <= answer.status < 300:
        return Response(answer.status, answer.headers, answer.data)
    raise _problem(answer)


def _problem(answer: urllib3.BaseHTTPResponse) -> ApiError:
    try:
        body = msgspec.json.decode(answer.data, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        body = _Problem()  # a proxy's page: its text says less than the status
    return ApiError(
        answer.status,
        body.title or body.error or answer.reason or "refused",
        body.detail or body.error_description,
        type=body.type,
        errors=body.errors,
        request_id=answer.headers.get("X-Request-Id", ""),
    )


def _reason(fault: HTTPError) -> str:
    """One line without the addresses of objects that urllib3 puts in front of it."""
    cause: BaseException = fault.reason if isinstance(fault, MaxRetryError) and fault.reason else fault
    if isinstance(cause.__cause__, OSError):
        return str(cause.__cause__)
    return str(cause).rpartition(">: ")[2]
