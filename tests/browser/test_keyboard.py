"""The portal by keyboard alone: Tab reaches everything in its order, and where the focus is can be seen."""

from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from tests.browser.browsing import SEND, WIDTHS, Visits, press, visit
from tests.browser.pages import PAGES, Shown, fill_names
from tests.browser.people import Visitor
from tests.browser.site import Site
from tests.holders import PASSWORD

MOST: Final = 400  # keys until a walk has to be over
# What can be used, in its order: what is seen, but for the target of the skip link, which Tab may not focus.
USABLE: Final = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter(each => each.tabIndex >= 0 && !each.disabled && each.type !== 'hidden' && each.checkVisibility()
                    && getComputedStyle(each).visibility === 'visible')
    .map((each, number) => { each.dataset.walked = number; return number; })"""
FOCUSED: Final = """() => {
    const each = document.activeElement, style = getComputedStyle(each), box = each.getBoundingClientRect();
    return {number: each.dataset.walked ?? null, html: each.outerHTML.slice(0, 120), ringed: each.matches(':focus-visible')
            && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && style.outlineColor !== 'transparent',
            inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth};
}"""
# Where something is wrong, Tab goes on from what says so (see below), not from the top.
SIGNED_IN: Final = [each for each in PAGES if each.after is None and not each.stale and not each.name.endswith("-wrong")]
WRONG: Final = [each for each in PAGES if each.after is not None and each.name.endswith("-wrong")]


def walk(page: Page) -> list[dict[str, Any]]:
    """What Tab focuses one after the other, until it leaves the page."""
    found: list[dict[str, Any]] = []
    for _ in range(MOST):
        page.keyboard.press("Tab")
        now = page.evaluate(FOCUSED)
        if now["number"] is None or (found and now["number"] == found[0]["number"]):
            return found
        # Days and times have parts that Tab visits one after the other.
        if not found or now["number"] != found[-1]["number"]:
            found.append(now)
    raise AssertionError("Tab never leaves the page")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shown", SIGNED_IN, ids=lambda shown: shown.name)
def test_tab_reaches_everything_in_order_and_shows_where_it_is(shown: Shown, width: int, visits: Visits, site: Site) -> None:
    assert not shown.once
    page = visits.page(shown.who, "en")
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    visit(page, shown.path.format(**site.paths))
    usable = page.evaluate(USABLE)
    walked = walk(page)
    assert [int(each["number"]) for each in walked] == usable
    assert [each["html"] for each in walked if not (each["ringed"] and each["inside"])] == []


def test_somebody_signs_in_skips_to_the_content_and_signs_out_without_a_mouse(
    visits: Visits, visitors: dict[str, Visitor]
) -> None:
    page = visits.fresh()
    page.goto("/portal/sign-in")
    _press_until(page, "[name=service]")
    page.keyboard.type("Talk2M")
    for typed in (visitors["owner"].account_name, visitors["owner"].username, PASSWORD):
        page.keyboard.press("Tab")
        page.keyboard.type(typed)
    page.keyboard.press("Enter")
    page.wait_for_url("**/portal/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert page.evaluate(
        "document.activeElement.closest('main') !== null || document.activeElement.closest('footer') !== null"
    )
    page.reload()
    _press_until(page, ".out button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/portal/sign-in")
    page.context.close()


def test_the_menu_of_a_phone_opens_and_closes_by_keyboard(visits: Visits) -> None:
    page = visits.page("newcomer", "en")
    page.set_viewport_size({"width": 360, "height": WIDTHS[360]})
    page.goto("/portal/")
    menu = page.locator("#menu")
    assert not menu.is_visible()
    _press_until(page, ".menu")
    page.keyboard.press("Enter")
    assert menu.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#menu') !== null")
    page.keyboard.press("Escape")
    assert not menu.is_visible()
    assert page.evaluate("document.activeElement.matches('.menu')")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert urlsplit(page.url).path == "/portal/identity"


def test_the_language_is_switched_on_the_page_and_the_page_stays(visits: Visits) -> None:
    page = visits.fresh(language="fr")
    page.goto("/portal/notice")
    assert page.get_attribute("html", "lang") == "fr"
    press(page, ".languages [value=sv]")
    assert page.get_attribute("html", "lang") == "sv"
    assert urlsplit(page.url).path == "/portal/notice"
    page.goto("/portal/sign-in")
    assert page.get_attribute("html", "lang") == "sv"
    page.context.close()


@pytest.mark.parametrize("shown", WRONG, ids=lambda shown: shown.name)
def test_the_focus_lands_on_what_is_wrong(shown: Shown, visits: Visits, site: Site) -> None:
    page = visits.page(shown.who, "en")
    if shown.stale and shown.who is not None:
        site.forget_password_of(visits.people[shown.who].account_id)
    visit(page, shown.path.format(**site.paths))
    assert shown.after is not None
    shown.after(page)
    assert page.title().startswith("Error: ")
    page.locator("main [role=alert]:focus").wait_for()
    links = page.locator("main [role=alert] a[href^='#f-'], main [role=alert] a[href^='#c-']")
    if links.count():
        page.keyboard.press("Tab")
        assert links.first.evaluate("each => each === document.activeElement")
        field = (links.first.get_attribute("href") or "")[1:]
        page.keyboard.press("Enter")
        page.locator(f"#{field}[aria-invalid=true]:focus").wait_for()


def test_the_focus_lands_on_what_is_wrong_without_scripts(visits: Visits) -> None:
    page = visits.fresh(script=False)
    page.goto("/portal/sign-in")
    fill_names(page, password="not the password")
    press(page, SEND)
    assert page.locator("main [role=alert]:focus").count() == 1
    assert page.locator("[name=password][aria-describedby~=fault]").count() == 1
    page.context.close()


def test_how_far_an_export_is_is_read_out_without_interrupting(visits: Visits, site: Site) -> None:
    page = visits.page("owner", "en")
    visit(page, f"/portal/exports/{site.paths['running']}")
    assert page.locator("[role=status] #percent").count() == 1
    assert page.get_by_role("progressbar", name="Progress").count() == 1
    assert page.locator("[aria-live=assertive], main [role=alert]").count() == 0


def _press_until(page: Page, selector: str) -> None:
    for _ in range(MOST):
        if page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {selector}")
