"""Requests to URLs of customers reach what is public, and nothing that is inside."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from cloudpriv.embedded.credentials import certificate_file_in
from cloudpriv.platform import outbound
from cloudpriv.platform.outbound import UnreachableError

LOOPBACK = (ip_network("127.0.0.0/8"),)


@contextmanager
def listening(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[str]:
    """The URL of a server that serves one connection."""
    with socket.create_server((host, 0)) as server:

        def accept() -> None:
            connected, _ = server.accept()
            with connected:
                serve(connected)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://{host}:{server.getsockname()[1]}/told?a=b"
        thread.join(10)


def answering(answer: bytes, received: list[bytes]) -> Callable[[socket.socket], None]:
    """Serves one answer to whatever comes."""

    def serve(connected: socket.socket) -> None:
        received.append(connected.recv(65536))
        connected.sendall(answer)

    return serve


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",  # noqa: S104  nothing binds to it
     "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
     "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1"],
)  # fmt: skip
def test_no_address_that_is_not_public_is_reached(address: str) -> None:
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(ValueError, match="public"):
        outbound.check_url(f"https://{literal}/")
    with pytest.raises(UnreachableError, match="not_public"):
        outbound.post(f"https://{literal}/", b"", {})


@pytest.mark.parametrize("spelled", ["2130706433", "0x7f000001", "017700000001", "127.1", "localhost", "LOCALHOST"])
def test_an_address_is_judged_by_what_it_resolves_to(spelled: str) -> None:
    with pytest.raises(UnreachableError, match="not_public"):
        outbound.post(f"https://{spelled}/", b"", {})


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_addresses_may_be_reached(address: str) -> None:
    outbound.check_url(f"https://{f'[{address}]' if ':' in address else address}:8443/path?query")
    assert outbound._may_reach(ip_address(address), "https", ())
    assert not outbound._may_reach(ip_address(address), "http", LOOPBACK), "only networks of the settings go without TLS"


@pytest.mark.parametrize(
    "url",
    ["http://controller.example/", "ftp://controller.example/", "//controller.example/", "https://", "https:///path",
     "https://kim@controller.example/", "https://:x@controller.example/", "https://controller.example/#kim",
     "https://controller.example:0/", "https://controller.example:99999/", "https://[::1", "https://a\\@b.example/",
     "https://controller.example/a b", "https://controller.example/\n", "https://contröller.example/", "",
     "https://controller.example/" + "a" * 2000],
)  # fmt: skip
def test_a_url_that_would_never_be_reached_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        outbound.check_url(url)


def test_a_network_of_the_settings_is_reached_without_tls() -> None:
    received: list[bytes] = []
    with listening(answering(b"HTTP/1.1 202 Accepted\r\n\r\n", received)) as url:
        outbound.check_url(url, LOOPBACK)
        assert outbound.post(url, b"body", {"X-Name": "value"}, LOOPBACK) == 202
    head, _, body = received[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /told?a=b HTTP/1.1\r\n")
    assert b"\r\nHost: 127.0.0.1:" in head
    assert b"X-Name: value" in head
    assert b"Authorization" not in head
    assert body in (b"body", b"")


def test_a_redirect_is_an_answer_like_any_other() -> None:
    with listening(answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", [])) as url:
        assert outbound.post(url, b"", {}, LOOPBACK) == 302


@pytest.mark.parametrize("answer", [b"", b"220 smtp.example ESMTP\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200])
def test_what_answers_no_http_is_not_reached(answer: bytes) -> None:
    with listening(answering(answer, [])) as url, pytest.raises(UnreachableError):
        outbound.post(url, b"", {}, LOOPBACK)


def test_nobody_who_answers_byte_by_byte_holds_a_worker_up() -> None:
    ended = threading.Event()

    def drip(connected: socket.socket) -> None:
        try:
            while not ended.wait(0.02):
                connected.sendall(b"H")
        except OSError:
            return

    with listening(drip) as url:
        with pytest.raises(UnreachableError):
            outbound.post(url, b"", {}, LOOPBACK, seconds=0.3)
        ended.set()


def over_tls(file: Path, received: list[bytes]) -> Callable[[socket.socket], None]:
    """Serves an answer over TLS with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def serve(connected: socket.socket) -> None:
        try:
            with context.wrap_socket(connected, server_side=True) as sealed:
                answering(b"HTTP/1.1 202 Accepted\r\n\r\n", received)(sealed)
        except ssl.SSLError:  # the client turned away
            return

    return serve


def test_a_certificate_counts_that_is_trusted_and_names_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, received = certificate_file_in(tmp_path), list[bytes]()
    with listening(over_tls(file, received)) as url, pytest.raises(UnreachableError, match="certificate"):
        outbound.post(url.replace("http", "https"), b"", {}, LOOPBACK)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with listening(over_tls(file, received), "127.0.0.2") as url, pytest.raises(UnreachableError, match="certificate"):
        outbound.post(url.replace("http", "https"), b"", {}, LOOPBACK)
    assert received == []
    with listening(over_tls(file, received)) as url:
        assert outbound.post(url.replace("http", "https"), b"", {}, LOOPBACK) == 202
    assert received


def test_without_tls_nothing_is_sent_where_the_url_says_https() -> None:
    with listening(answering(b"no TLS", [])) as url, pytest.raises(UnreachableError):
        outbound.post(url.replace("http://", "https://"), b"", {}, LOOPBACK)


def test_networks_are_read_from_a_setting() -> None:
    assert outbound.networks("") == ()
    assert outbound.networks("127.0.0.0/8, ::1/128") == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
