"""Fixtures of the client's tests."""

from collections.abc import Iterator

import pytest

from tests.unit.client import peer as peers


@pytest.fixture
def peer() -> Iterator[peers.Peer]:
    """A server that fails on demand."""
    with peers.running() as running:
        yield running
