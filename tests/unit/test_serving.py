"""Where `serve` listens: that it is free, and that it answers."""

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cloudpriv import serving


class Healthy(BaseHTTPRequestHandler):
    """Answers as the API does once it is up."""

    def do_GET(self) -> None:
        """Say that all is well."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name it has in the base class
        """Keep the test's output clean."""


@pytest.mark.parametrize(
    ("family", "host", "shown"), [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")]
)
def test_an_address_is_free_until_somebody_listens_there(family: socket.AddressFamily, host: str, shown: str) -> None:
    with socket.socket(family) as other:
        other.bind((host, 0))
        other.listen()
        bind = f"{shown}:{other.getsockname()[1]}"
        assert not serving.is_free(bind)
    assert serving.is_free(bind)


def test_the_api_is_said_to_serve_only_once_it_answers() -> None:
    with HTTPServer(("127.0.0.1", 0), Healthy) as server, subprocess.Popen([sys.executable, "-c", "input()"],
                                                                           stdin=subprocess.PIPE) as api:  # fmt: skip
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert serving.await_answer(f"127.0.0.1:{server.server_port}", api)
        api.kill()


def test_an_api_that_ends_before_it_answers_is_not_waited_for() -> None:
    with socket.socket() as nobody, subprocess.Popen([sys.executable, "-c", ""]) as api:
        nobody.bind(("127.0.0.1", 0))
        assert not serving.await_answer(f"127.0.0.1:{nobody.getsockname()[1]}", api)
