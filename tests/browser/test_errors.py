"""Pages about failures, of every status that there is one for, as a browser shows them.

A real server cannot be made to fail in each of these ways, so the page is made here and handed to the browser in its place;
style sheet and icon are the server's own.
"""

from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Route

from cloudpriv.portal import app, cookies, i18n, pages
from tests.browser import browsing
from tests.browser.browsing import LANGUAGES, WIDTHS, Visits

ADDRESS = "/portal/failing"


@pytest.fixture(scope="module")
def portal() -> Iterator[Flask]:
    """The portal's pages, without anything behind them."""
    made = Flask("portal")
    i18n.install(made, str(app.TRANSLATIONS))
    for blueprint in app.BLUEPRINTS:
        made.register_blueprint(blueprint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cookies, "is_plain", lambda: True)  # what settings decide, of which there are none
        yield made


def made(portal: Flask, status: int, language: str) -> str:
    """The page of a failure in a language."""
    with portal.test_request_context(ADDRESS, headers={"Cookie": f"cloudpriv-lang={language}"}):
        return pages.error(status, "a_code_that_is_as_long_as_any").get_data(as_text=True)


@pytest.mark.parametrize("status", pages.ERRORS)
def test_a_page_about_a_failure_is_whole_in_every_language(status: int, portal: Flask, visits: Visits) -> None:
    page = visits.page(None, "en")
    shown = {"html": ""}

    def answer(route: Route) -> None:
        # The status is on the page; Chromium would note that of the answer as a fault of ours.
        route.fulfill(status=200, content_type=pages.HTML, body=shown["html"])

    page.route(f"**{ADDRESS}", answer)
    for language in LANGUAGES:
        shown["html"] = made(portal, status, language)
        page.set_viewport_size({"width": 360, "height": WIDTHS[360]})
        page.goto(ADDRESS)
        assert page.get_attribute("html", "lang") == language
        assert page.title().startswith(page.inner_text("h1"))
        assert str(status) in page.inner_text("main")
        assert browsing.overflow(page) == []
    shown["html"] = made(portal, status, "fr")
    page.goto(ADDRESS)
    assert browsing.inspect(page, f"error-{status}-fr") == []
    page.unroute(f"**{ADDRESS}")
