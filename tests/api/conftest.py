"""Fixtures of API tests: an app on this test's database, and a backend with every scope."""

from dataclasses import replace

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from cloudpriv.embedded.stack import Stack
from cloudpriv.retention.restored import Watch
from tests.backend import Backend
from tests.stack import TestDatabase, fresh_database


@pytest.fixture(scope="session")
def any_app(stack: Stack) -> Flask:
    """The API on whatever database is set: its routes take long to make, and are the same for all."""
    with fresh_database(stack) as database:
        made = create_app(database.services("api"))
    made.testing = True
    return made


@pytest.fixture
def app(any_app: Flask, services: Services) -> Flask:
    """The API on a fresh database."""
    any_app.extensions[EXTENSION] = replace(any_app.extensions[EXTENSION], services=services, watch=Watch())
    return any_app


@pytest.fixture
def backend(app: Flask, database: TestDatabase) -> Backend:
    """A Talk2M backend that may do everything."""
    return Backend(app, database)


@pytest.fixture
def other_backend(app: Flask, database: TestDatabase) -> Backend:
    """An Intesis backend that may do everything to its own accounts."""
    return Backend(app, database, "intesis")
