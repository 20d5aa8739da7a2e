"""A browser in tests: Debian's Chromium by Playwright, what it must never do, and what is looked at on every page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, WebError, sync_playwright

from tests.browser.people import Visitor
from tests.holders import PASSWORD

LANGUAGES: Final = ("en", "sv", "fr", "es")
WIDTHS: Final = {1280: 900, 360: 740}
SCHEMES: Final = ("light", "dark")
SEND: Final = "main form button"  # the first one
PATIENCE: Final = 60_000  # milliseconds
FOLDER: Final = Path(__file__).parents[2] / "var" / "screenshots"
# A page that tells of a failure is none: Chromium notes the status of every document.
STATUS: Final = "Failed to load resource: the server responded with a status of 4"
TOO_WIDE: Final = """() => [...document.querySelectorAll('body *')]
    .filter(each => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest('.scroll, .drawing, .skip'))
    .slice(0, 5).map(each => each.outerHTML.slice(0, 120))"""

# Cards on a phone, and every table on a desk, are seen whole.
CUT_OFF: Final = """() => [...document.querySelectorAll('.scroll > table')]
    .filter(each => innerWidth >= 1280 || getComputedStyle(each).display === 'block').map(each => each.parentElement)
    .filter(each => each.scrollWidth > each.clientWidth).map(each => each.getAttribute('aria-label'))"""


def program() -> str:
    """Where Chromium is. Fails with what to do where it is not: these tests are never left out."""
    found = os.environ.get("CLOUDPRIV_CHROMIUM") or shutil.which("chromium")
    if found is None:
        pytest.fail("The tests of the portal need Chromium: run `make browser` as root, or `apt-get install chromium`.")
    return found


@contextmanager
def running(home: Path) -> Iterator[Browser]:
    """Chromium, which keeps what it writes in `home`, whoever runs it."""
    environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), env=environment)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watch:
    """What browsers did that they must not: requests to other hosts, messages of the console, failures of scripts."""

    host: str
    found: list[str] = field(default_factory=list)

    def over(self, context: BrowserContext) -> BrowserContext:
        """The same context, watched."""
        context.on("request", self._requested)
        context.on("console", self._said)
        context.on("weberror", self._failed)
        return context

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.found.append(f"request to {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(STATUS):
            self.found.append(f"console: {message.text}")

    def _failed(self, error: WebError) -> None:
        self.found.append(f"script: {error.error}")


@dataclass
class Visits:
    """Browsers of people: each person has one, in which they stay signed in; strangers have one of their own."""

    url: str
    browser: Browser
    watch: Watch
    people: dict[str, Visitor]
    kept: dict[str | None, Page] = field(default_factory=dict)

    def page(self, who: str | None, language: str) -> Page:
        """A person's page, signed in, or a stranger's for None, in a language."""
        if who not in self.kept:
            self.kept[who] = self.fresh()
            if who is not None:
                sign_in(self.kept[who], self.people[who])
        page = self.kept[who]
        page.context.add_cookies([{"name": "cloudpriv-lang", "value": language, "url": f"{self.url}/portal/"}])
        return page

    def fresh(self, *, script: bool = True, language: str = "en", width: int = 1280) -> Page:
        """A page of a browser that nobody used before."""
        context = self.browser.new_context(
            base_url=self.url,
            java_script_enabled=script,
            locale=language,
            reduced_motion="reduce",
            viewport={"width": width, "height": WIDTHS[width]},
            accept_downloads=True,
        )
        context.set_default_timeout(PATIENCE)
        return self.watch.over(context).new_page()


def sign_in(page: Page, visitor: Visitor, password: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    page.goto("/portal/sign-in")
    page.select_option("[name=service]", "talk2m")
    page.fill("[name=account_name]", visitor.account_name)
    page.fill("[name=username]", visitor.username)
    page.fill("[name=password]", password)
    press(page, SEND)
    assert urlsplit(page.url).path in ("/portal/", "/portal/owners"), page.inner_text("main")


def visit(page: Page, path: str, password: str = PASSWORD) -> None:
    """Open a page, with the password given again where it is asked for."""
    page.goto(path)
    if urlsplit(page.url).path == "/portal/password" and not path.startswith("/portal/password"):
        give_password(page, password)


def give_password(page: Page, password: str = PASSWORD) -> None:
    """Give the password once more."""
    page.fill("[name=password]", password)
    press(page, "form[action='/portal/password'] button")


def press(page: Page, what: str | Locator) -> None:
    """Click on what leads to a page, and wait until that is there."""
    with page.expect_navigation():
        (page.locator(what).first if isinstance(what, str) else what).click()


def inspect(page: Page, name: str, *, colours: bool = True) -> list[str]:
    """What is wrong on a page, wide and narrow, light and dark, each of which is left as a picture.

    Without `colours`, axe looks at one of the two schemes alone: no language has colours of its own.
    """
    page.evaluate(AXE_SCRIPT)
    wrong = []
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.screenshot(path=folder() / f"{name}-{width}-{scheme}.png", full_page=True)
            found = violations(page) if colours or scheme == "light" else []
            wrong += [f"{width} {scheme}: {each}" for each in (*overflow(page), *found)]
    page.set_viewport_size({"width": 1280, "height": WIDTHS[1280]})
    return wrong


def folder() -> Path:
    """Where pictures are left: CLOUDPRIV_SCREENSHOTS, or var/screenshots."""
    found = Path(os.environ.get("CLOUDPRIV_SCREENSHOTS", FOLDER))
    found.mkdir(parents=True, exist_ok=True)
    return found


def overflow(page: Page) -> list[str]:
    """What is wider than the window where the page scrolls sideways, and tables that are cut off."""
    if not page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"):
        return [f"wider than the window: {page.evaluate(TOO_WIDE)}"]
    return [f"cut off: {each}" for each in page.evaluate(CUT_OFF)]


def violations(page: Page) -> list[str]:
    """What axe finds, with the elements that it means; the script has to be in the page."""
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    return [f"{each['id']}: {each['help']}: {node['html'][:160]}" for each in found for node in each["nodes"][:3]]
