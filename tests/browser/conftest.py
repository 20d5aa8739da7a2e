"""Fixtures of the browser's tests: one installation, one browser and the same people for all of them."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests.browser import browsing, people
from tests.browser.browsing import Visits, Watch
from tests.browser.people import Visitor
from tests.browser.site import Site, served
from tests.mailbox import mail_server
from tests.unit.rights.test_announcements import changed


# Of the package, not of the session: while Playwright runs, no other test of this process could run an event loop.
@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The portal, served by `serve --embedded` under a policy that brings a major change, with a small one to come."""
    folder = tmp_path_factory.mktemp("site")
    changed(folder)
    changed(folder, "2126-07-01", major=False)
    policies = (folder / "2026-07-01.toml", folder / "2126-07-01.toml")
    with mail_server() as mailbox, served(folder / "stack", mailbox, *policies) as started:
        yield started


@pytest.fixture(scope="package")
def visitors(site: Site) -> dict[str, Visitor]:
    """Everybody whom pages are shown to."""
    return people.furnish(site)


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium."""
    with browsing.running(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture(scope="package")
def watch(site: Site) -> Watch:
    """What the browsers must not do."""
    return Watch(urlsplit(site.url).netloc)


@pytest.fixture(scope="package")
def visits(site: Site, browser: Browser, watch: Watch, visitors: dict[str, Visitor]) -> Visits:
    """The browsers of those people."""
    return Visits(site.url, browser, watch, visitors)


@pytest.fixture(autouse=True)
def well_behaved(site: Site, watch: Watch) -> Iterator[None]:
    """No test waits for the attempts of another; after each, no browser has done what it must not."""
    site.forget_attempts()
    watch.found.clear()
    yield
    assert watch.found == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where downloads go."""
    return tmp_path
