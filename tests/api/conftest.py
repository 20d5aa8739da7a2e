"""Fixtures of API tests: an app on this test's database, and a backend with every scope."""

import pytest
from flask import Flask

from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from tests.backend import Backend
from tests.stack import TestDatabase


@pytest.fixture
def app(services: Services) -> Flask:
    """The API on a fresh database."""
    made = create_app(services)
    made.testing = True
    return made


@pytest.fixture
def backend(app: Flask, database: TestDatabase) -> Backend:
    """A Talk2M backend that may do everything."""
    return Backend(app, database)


@pytest.fixture
def other_backend(app: Flask, database: TestDatabase) -> Backend:
    """An Intesis backend that may do everything to its own accounts."""
    return Backend(app, database, "intesis")
