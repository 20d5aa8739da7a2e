"""Every page in every language, as people see it: light and dark, on a desk and on a phone."""

from urllib.parse import urlsplit

import pytest
from flask import Flask

from cloudpriv.portal import app
from tests.browser import browsing
from tests.browser.browsing import LANGUAGES, Visits
from tests.browser.pages import NO_PAGES, PAGES, Shown
from tests.browser.site import Site


def test_no_page_of_the_portal_is_forgotten() -> None:
    portal = Flask("portal")
    for blueprint in app.BLUEPRINTS:
        portal.register_blueprint(blueprint)
    answering_get = {rule.endpoint for rule in portal.url_map.iter_rules() if "GET" in (rule.methods or ())}
    listed = {shown.endpoint for shown in PAGES}
    assert answering_get - listed - NO_PAGES.keys() == set()
    assert listed - portal.view_functions.keys() == set()
    assert NO_PAGES.keys() - answering_get == set()
    assert len({shown.name for shown in PAGES}) == len(PAGES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_a_page_is_whole_readable_and_as_wide_as_the_window(shown: Shown, language: str, visits: Visits, site: Site) -> None:
    who = shown.visitor(language)
    page, path = visits.page(who, language), shown.path.format(**site.paths)
    if shown.stale and who is not None:
        site.forget_password_of(visits.people[who].account_id)
    if shown.said and who is not None:
        path = site.saying(visits.people[who].person_id, path, *shown.said)
    browsing.visit(page, path)
    assert urlsplit(page.url).path == urlsplit(path).path, page.inner_text("main")
    if shown.after is not None:
        shown.after(page)
    if shown.by_mail is not None:
        shown.by_mail(page, site)
    assert page.get_attribute("html", "lang") == language
    assert page.locator("h1").count() == 1
    assert browsing.inspect(page, f"{shown.name}-{language}", colours=language == "en") == []
