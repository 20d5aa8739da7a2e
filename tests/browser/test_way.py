"""The whole way of an account holder in a browser: in every language, and once without any script."""

import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page
from sqlalchemy import insert

from cloudpriv.controller.tables import TrafficSession
from tests.browser.browsing import LANGUAGES, Visits, give_password, press, sign_in
from tests.browser.people import Visitor, make_device, make_session, open_account
from tests.browser.site import Site, until
from tests.holders import PASSWORD
from tests.patience import PATIENCE

WAYS = [*((language, True) for language in LANGUAGES), ("sv", False)]
NEW = "seven other words that nobody knows"


@pytest.mark.parametrize(("language", "script"), WAYS)
def test_from_signing_in_to_a_checked_archive_and_to_closing_and_undoing(
    language: str, script: bool, visits: Visits, site: Site, tmp_path: Path
) -> None:
    name = f"way-{language}{'' if script else '-without-script'}"
    visitor = open_account(site, name)
    _use(site, visitor)
    page = visits.fresh(script=script, language=language, width=1280 if script else 360)
    sign_in(page, visitor)
    assert page.get_attribute("html", "lang") == language
    archive = _export(page, site, visitor, language, script=script, target=tmp_path / "archive.zip")
    _check(archive, site, language)
    _close_and_undo(page, site, visitor, script=script)
    press(page, ".out button")
    assert urlsplit(page.url).path == "/portal/sign-in"
    page.goto("/portal/exports")
    assert urlsplit(page.url).path == "/portal/sign-in"
    page.context.close()


def _use(site: Site, visitor: Visitor) -> None:
    start = datetime.now(UTC) - timedelta(days=40)
    with site.transaction() as tx:
        device_id = make_device(tx, visitor.account_id, 7, "Pump <of> Kim")
        rows = [make_session(visitor.account_id, device_id, visitor.person_id, i, start) for i in range(1, 4)]
        tx.session.execute(insert(TrafficSession), rows)


def _go(page: Page, path: str) -> None:
    """Follow the navigation, which a phone shows on demand."""
    if page.locator(".menu").is_visible():
        page.locator(".menu").click()
    press(page, f"#menu a[href='{path}']")


def _export(page: Page, site: Site, visitor: Visitor, language: str, *, script: bool, target: Path) -> Path:
    """Start an export, wait until it is there, and fetch it with the password that was given too long ago."""
    _go(page, "/portal/exports")
    press(page, "main a[href='/portal/exports/new']")
    assert page.locator("[name=language]").input_value() == language
    press(page, "main form button")
    fetch = page.locator("main form[action^='/portal/exports/'] button")
    if script:
        fetch.wait_for(timeout=PATIENCE * 1000)
    else:
        until(lambda: _ready(page, fetch), "the archive")
    site.forget_password_of(visitor.account_id)
    press(page, fetch)
    assert urlsplit(page.url).path == "/portal/password"
    give_password(page)
    with page.expect_download() as download:
        fetch.click()
    assert urlsplit(download.value.url).path.startswith("/portal/download/")
    download.value.save_as(target)
    return target


def _ready(page: Page, fetch: Locator) -> bool | None:
    """Whether it can be fetched; refreshed where it cannot."""
    if fetch.count():
        return True
    press(page, "main .card a.button")
    return None


def _check(archive: Path, site: Site, language: str) -> None:
    """The archive is what was signed, has what is held and reads in the language that was chosen."""
    key = until(lambda: site.command("audit", "key").split() or None, "the log's key")[0]
    verify = [sys.executable, "-m", "cloudpriv.cli", "export", "verify", str(archive), "--key", key]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(archive) as opened:
        page = opened.read("index.html").decode()
        assert f'lang="{language}"' in page
        assert "Pump &lt;of&gt; Kim" in page
        assert len(opened.read("traffic.csv").splitlines()) == 1 + 3


def _close_and_undo(page: Page, site: Site, visitor: Visitor, *, script: bool) -> None:
    """Close the account, see that it is closing, and undo it; both are told by mail."""
    before = len(site.mailbox.received)
    _go(page, "/portal/closing")
    press(page, "main a[href='/portal/closing/confirm']")
    page.fill("[name=account_name]", "another-name")
    press(page, "main form button")
    assert page.locator("[aria-invalid=true]").count() == 1
    page.fill("[name=account_name]", visitor.account_name)
    press(page, "main form button")
    assert urlsplit(page.url).path == "/portal/closing"
    _go(page, "/portal/")
    assert page.locator("main .notice.warn").count() >= 1
    site.mail_to(visitor.email, lambda words: "/portal/" in words, before)
    undo = page.locator("main form[action='/portal/closing/undo'] button").first
    begun = len(site.mailbox.received)
    press(page, undo)
    assert urlsplit(page.url).path == "/portal/closing"
    assert page.locator("main .notice.good").count() == 1
    site.mail_to(visitor.email, lambda words: "/portal/" in words, begun)
    _go(page, "/portal/")
    assert page.locator("main .tag.good").count() == 1


@pytest.mark.parametrize("script", [True, False], ids=["with scripts", "without scripts"])
def test_who_forgot_the_password_gets_in_by_a_code_from_the_mail(script: bool, visits: Visits, site: Site) -> None:
    visitor = open_account(site, f"forgetful-{script}".lower())
    before = len(site.mailbox.received)
    page = visits.fresh(script=script)
    page.goto("/portal/sign-in")
    press(page, "main a[href='/portal/sign-in/code']")
    page.select_option("[name=service]", "talk2m")
    page.fill("[name=account_name]", visitor.account_name)
    page.fill("[name=username]", visitor.username)
    press(page, "main form button")
    mail = site.mail_to(visitor.email, lambda words: CODE.search(words) is not None, before)
    found = CODE.search(mail)
    assert found is not None
    page.fill("[name=code]", found[1])
    page.fill("[name=password]", NEW)
    page.fill("[name=again]", NEW)
    press(page, "main form button")
    assert urlsplit(page.url).path == "/portal/"
    page.context.close()
    other = visits.fresh(script=script)
    sign_in(other, visitor, NEW)
    other.context.close()


CODE = re.compile(r"^ {4}([0-9A-Z]{4}-?[0-9A-Z]{4})$", re.MULTILINE)
LINK = re.compile(r"http://\S+?/portal/(\S+)")


@pytest.mark.parametrize("script", [True, False], ids=["with scripts", "without scripts"])
def test_a_consent_counts_once_its_link_is_confirmed_and_goes_by_one_button(
    script: bool, visits: Visits, site: Site
) -> None:
    visitor = open_account(site, f"agreeable-{script}".lower())
    page = visits.fresh(script=script)
    sign_in(page, visitor)
    _go(page, "/portal/consents")
    before = len(site.mailbox.received)
    press(page, "form[action$='/product_news/ask'] button")
    assert page.locator("main .tag.good").count() == 0
    mail = site.mail_to(visitor.email, lambda words: "/consents/confirm/" in words, before)
    link = LINK.search(mail)
    assert link is not None
    stranger = visits.fresh(script=script)
    stranger.goto(f"/portal/{link[1]}")
    page.goto("/portal/consents")
    assert page.locator("main .tag.good").count() == 0, "whoever opens the link agrees to nothing"
    press(stranger, "main form button")
    assert stranger.locator("main .notice.good").count() == 1
    stranger.context.close()
    page.reload()
    assert page.locator("main .tag.good").count() == 1
    press(page, "form[action$='/product_news/withdraw'] button")
    assert page.locator("main .tag.good").count() == 0
    page.context.close()


def test_a_sign_in_elsewhere_is_ended_with_the_password(visits: Visits, site: Site) -> None:
    visitor = open_account(site, "two-places")
    here, there = visits.fresh(), visits.fresh()
    sign_in(there, visitor)
    sign_in(here, visitor)
    here.goto("/portal/sessions")
    assert here.locator("tbody tr").count() == 2
    press(here, here.locator("tbody tr", has_not=here.locator("th small")).locator("button"))
    assert here.locator("tbody tr").count() == 1
    there.goto("/portal/identity")
    assert urlsplit(there.url).path == "/portal/sign-in"
    there.fill("[name=password]", PASSWORD)
    for page in (here, there):
        page.context.close()
