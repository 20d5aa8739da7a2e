"""Fixtures of tests of whole flows, and how long those may take."""

import pytest

SECONDS = 900  # several processes of a test are waited for one after another, each with patience of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every flow more time than other tests have, unless it names its own."""
    for item in items:
        if item.path.parent.name == "flows" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS))
