"""The client keeps a token, sends again what it safely can, and turns every refusal into one error."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from cloudpriv.client.api import BUSY, ApiClient, ApiError
from tests.unit.client.peer import LOST, Fault, Peer, Unhurried, unhurried

TRAFFIC = "/v1/traffic"


class Clock:
    """Seconds that move when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The seconds now."""
        return self.now


def test_a_token_is_fetched_with_the_clients_secret_and_kept_until_shortly_before_it_ends(peer: Peer) -> None:
    clock = Clock()
    with peer.client(monotonic=clock) as client:
        client.request("POST", TRAFFIC, json=[])
        clock.now += 569
        client.request("POST", TRAFFIC, json=[])
        assert peer.tokens == 1
        clock.now += 2
        client.request("POST", TRAFFIC, json=[])
    assert peer.tokens == 2
    headers, body = peer.asked("POST", "/oauth2/token")[0]
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"backend:secret").decode()
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert body == b"grant_type=client_credentials"


def test_a_secret_with_reserved_characters_is_form_encoded(peer: Peer) -> None:
    with ApiClient(peer.url, "a:b", "c d+/é") as client:
        client.request("POST", TRAFFIC, json=[])
    sent = peer.asked("POST", "/oauth2/token")[0][0]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"a%3Ab:c%20d%2B%2F%C3%A9"


def test_a_token_that_lives_shorter_than_the_margin_is_still_used(peer: Peer) -> None:
    peer.expires_in = 10
    with peer.client(monotonic=Clock()) as client:
        client.request("POST", TRAFFIC, json=[])
        client.request("POST", TRAFFIC, json=[])
    assert peer.tokens == 1


def test_a_refused_token_is_renewed_once_and_the_request_sent_again(peer: Peer) -> None:
    with peer.client() as client:
        client.request("POST", TRAFFIC, json=[])
        peer.tokens += 1  # the server has forgotten the token
        client.request("POST", TRAFFIC, json=[])
    assert len(peer.asked("POST", "/oauth2/token")) == 2
    assert len(peer.asked("POST", TRAFFIC)) == 3


def test_a_token_that_is_refused_again_is_an_error(peer: Peer) -> None:
    peer.faults[TRAFFIC].extend([Fault(401), Fault(401)])
    with peer.client() as client, pytest.raises(ApiError, match="401"):
        client.request("POST", TRAFFIC, json=[])
    assert peer.tokens == 2


def test_threads_whose_token_is_refused_share_one_renewal(peer: Peer) -> None:
    with peer.client() as client, ThreadPoolExecutor(4) as pool:
        client.request("POST", TRAFFIC, json=[])
        peer.tokens += 1
        together = threading.Barrier(4)

        def send(_: int) -> int:
            together.wait(60)
            return client.request("POST", TRAFFIC, json=[]).status

        assert list(pool.map(send, range(4))) == [200] * 4
    assert len(peer.asked("POST", "/oauth2/token")) == 2


@pytest.mark.parametrize("status", sorted(BUSY))
def test_a_busy_server_is_asked_again(peer: Peer, status: int) -> None:
    peer.faults[TRAFFIC].extend([Fault(status), Fault(status)])
    with peer.client() as client:
        assert client.request("POST", TRAFFIC, json=[]).status == 200
    assert len(peer.asked("POST", TRAFFIC)) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(peer: Peer, status: int) -> None:
    peer.faults[TRAFFIC].append(Fault(status, {"Retry-After": "7"}))
    with peer.client() as client:
        client.request("POST", TRAFFIC, json=[])
    assert Unhurried.waits == [7]


def test_retry_after_cannot_make_the_client_wait_for_hours(peer: Peer) -> None:
    peer.faults[TRAFFIC].append(Fault(503, {"Retry-After": "86400"}))
    with peer.client() as client:
        client.request("POST", TRAFFIC, json=[])
    assert Unhurried.waits == [300]


def test_waits_grow_exponentially_with_jitter_up_to_a_bound_and_the_last_answer_is_the_error(
    peer: Peer,
) -> None:
    peer.faults[TRAFFIC].extend([Fault(502)] * 9)
    with peer.client() as client, pytest.raises(ApiError) as caught:
        client.request("POST", TRAFFIC, json=[])
    assert caught.value.status == 502
    assert len(peer.asked("POST", TRAFFIC)) == 9
    waits = Unhurried.waits
    assert waits[0] == 0
    assert all(base <= wait <= base + 0.5 for base, wait in zip([1, 2, 4, 8, 16], waits[1:], strict=False))
    assert all(first < second or second == 30 for first, second in pairwise(waits))


def test_a_lost_answer_is_asked_for_again_under_the_same_idempotency_key(peer: Peer) -> None:
    peer.faults[TRAFFIC].append(LOST)
    record = {"source": "s", "session": "1", "started_at": "2024", "device": "d"}
    with peer.client() as client:
        answer = client.request("POST", TRAFFIC, json=[record]).json()
    keys = {headers["Idempotency-Key"] for headers, _ in peer.asked("POST", TRAFFIC)}
    assert len(keys) == 1
    assert keys.pop().startswith('"')
    assert answer["accepted"] == 1


def test_two_posts_have_two_idempotency_keys(peer: Peer) -> None:
    with peer.client() as client:
        client.request("POST", TRAFFIC, json=[])
        client.request("POST", TRAFFIC, json=[])
    assert len({headers["Idempotency-Key"] for headers, _ in peer.asked("POST", TRAFFIC)}) == 2


def test_a_problem_becomes_an_error_with_all_its_members(peer: Peer) -> None:
    problem = {
        "type": "/problems/invalid",
        "title": "Invalid",
        "detail": "Some values are not acceptable.",
        "errors": [{"pointer": "/0/device", "detail": "missing"}],
    }
    peer.faults[TRAFFIC].append(Fault(422, {"X-Request-Id": "r-9"}, json.dumps(problem).encode()))
    with peer.client() as client, pytest.raises(ApiError) as caught:
        client.request("POST", TRAFFIC, json=[])
    error = caught.value
    assert (error.status, error.type, error.title) == (422, "/problems/invalid", "Invalid")
    assert error.errors == ({"pointer": "/0/device", "detail": "missing"},)
    assert str(error) == "422 Invalid: Some values are not acceptable.: /0/device missing (request r-9)"
    assert len(peer.asked("POST", TRAFFIC)) == 1


def test_a_refused_client_is_an_oauth_error(peer: Peer) -> None:
    refusal = {"error": "invalid_client", "error_description": "The client is unknown."}
    peer.faults["/oauth2/token"].append(Fault(401, body=json.dumps(refusal).encode()))
    with (
        peer.client() as client,
        pytest.raises(ApiError, match=r"^401 invalid_client: The client is unknown.$"),
    ):
        client.request("GET", "/v1/accounts")


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[1]", b"\xff", b"", b'{"errors": 1}'])
def test_a_refusal_that_is_no_problem_is_told_by_its_status(peer: Peer, body: bytes) -> None:
    peer.faults[TRAFFIC].append(Fault(403, body=body))
    with peer.client() as client, pytest.raises(ApiError, match=r"^403 Forbidden$"):
        client.request("POST", TRAFFIC, json=[])


def test_a_redirect_is_not_followed(peer: Peer) -> None:
    peer.faults[TRAFFIC].append(Fault(302, {"Location": "http://elsewhere.example/"}))
    with peer.client() as client, pytest.raises(ApiError, match=r"^302"):
        client.request("POST", TRAFFIC, json=[])


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"access_token": 1}'])
def test_a_token_answer_of_another_shape_is_an_error(peer: Peer, body: bytes) -> None:
    peer.faults["/oauth2/token"].append(Fault(200, body=body))
    with peer.client() as client, pytest.raises(ApiError, match="another shape"):
        client.request("GET", "/v1/accounts")


def test_a_server_that_is_away_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            ApiClient(url, "c", "s", retries=unhurried()) as client,
            pytest.raises(ConnectionError) as caught,
        ):
            client.request("GET", "/v1/accounts?account_name=acme")
    assert str(caught.value) == f"no answer from {url}: [Errno 111] Connection refused"
    assert len(Unhurried.waits) == 8


def test_a_server_that_hangs_up_every_time_is_one_clear_line(peer: Peer) -> None:
    peer.faults["/oauth2/token"].extend([LOST] * 9)
    with peer.client() as client, pytest.raises(ConnectionError) as caught:
        client.request("GET", "/v1/accounts")
    assert "0x" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "host:80",
        "http://",
        "http://name:word@host",
        "https://host?x=1",
        "https://host#x",
        "",
        "http://[::1",
        "http://a b",
        "http://x:99999",
    ],
)
def test_an_address_that_is_none_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ConnectionError, match="must look like"):
        ApiClient(url, "c", "s")


def test_a_list_is_read_page_by_page(peer: Peer) -> None:
    peer.known = {"a", "b", "c", "d", "e"}
    with peer.client() as client:
        items: Iterator[dict[str, str]] = client.items("/v1/accounts/1/devices")
        assert [item["serial"] for item in items] == ["a", "b", "c", "d", "e"]
    assert len(peer.asked("GET", "/v1/accounts/1/devices")) == 3
