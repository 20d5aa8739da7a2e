"""Pages about failures, of every status that there is one for, as a browser shows them.

A server cannot be made to fail in each of these ways from outside. So a page fails in the app itself, on the services of the
installation, and what it answers is handed to the browser; style sheet and icon are the server's own.
"""

from collections.abc import Iterator

import pytest
from flask import Flask, abort
from playwright.sync_api import Page, Route

from cloudpriv.app import create_app
from cloudpriv.portal import pages
from tests.browser import browsing
from tests.browser.browsing import LANGUAGES, WIDTHS, Visits
from tests.browser.site import Site

ADDRESS = "/portal/notice"


@pytest.fixture(scope="module")
def app(site: Site) -> Flask:
    """The app of the installation, in this process."""
    return create_app(site.services)


@pytest.fixture
def page(visits: Visits) -> Iterator[Page]:
    """A stranger's page."""
    found = visits.fresh()
    yield found
    found.context.close()


def failed(app: Flask, site: Site, status: int, language: str) -> str:
    """What a page that fails with a status answers in a language."""
    app.view_functions["notice.show"] = lambda: abort(status)
    answer = app.test_client().get(ADDRESS, base_url=site.url, headers={"Accept-Language": language})
    assert answer.status_code == status
    return answer.text


@pytest.mark.parametrize("status", pages.ERRORS)
def test_a_page_about_a_failure_is_whole_in_every_language(status: int, app: Flask, site: Site, page: Page) -> None:
    shown: dict[str, str] = {}

    def answer(route: Route) -> None:
        # The status is on the page; of one in the answer Chromium would note that it is a fault.
        route.fulfill(status=200, content_type=pages.HTML, body=shown["html"])

    page.route(f"**{ADDRESS}", answer)
    for language in LANGUAGES:
        shown["html"] = failed(app, site, status, language)
        page.set_viewport_size({"width": 360, "height": WIDTHS[360]})
        page.goto(ADDRESS)
        assert page.get_attribute("html", "lang") == language
        assert page.title().startswith(page.inner_text("h1"))
        assert str(status) in page.inner_text("main")
        assert browsing.overflow(page) == []
    assert browsing.inspect(page, f"error-{status}-{language}") == []
