"""Every page of the portal and every state of one that looks different: who sees it, at which address, after doing what.

A page of the app's map of addresses that stands neither here nor in `NO_PAGES` fails a test.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Page

from cloudpriv.rights.cases.grounds import TYPES
from tests.browser.browsing import SEND, press
from tests.browser.people import STATES
from tests.browser.site import Site

CODE: Final = re.compile("[A-Z2-9]{4}-[A-Z2-9]{4}")


@dataclass(frozen=True)
class Shown:
    """A page in one state. `path` names in braces what `Site.paths` knows; `after` is done on it before it is looked at.

    `said` is what led to it has it say. With `once`, what is done can be done once: by another person in each language.
    """

    name: str
    endpoint: str
    path: str
    who: str | None = None
    after: Callable[[Page], None] | None = None
    stale: bool = False  # whether the password was given too long ago
    said: tuple[str, ...] = ()
    once: bool = False
    by_mail: Callable[[Page, Site], None] | None = None  # as `after`, with what is mailed meanwhile

    def visitor(self, language: str) -> str | None:
        """Who looks at it in a language."""
        return f"{self.who}-{language}" if self.once else self.who


def fill_names(page: Page, **others: str) -> None:
    """Fill in the three names of nobody, and what else there is."""
    names = {"account_name": "acme-water", "username": "nobody", **others}
    page.select_option("[name=service]", "talk2m")
    for name, text in names.items():
        page.fill(f"[name={name}]", text)


def sent(**texts: str) -> Callable[[Page], None]:
    """Fill in fields by their names and send the first form."""

    def act(page: Page) -> None:
        for name, text in texts.items():
            page.locator(f"[name={name}]").first.fill(text)
        press(page, SEND)

    return act


def try_to_sign_in(page: Page) -> None:
    """Fail to sign in."""
    fill_names(page, password="not the password")
    press(page, SEND)


def try_too_often(page: Page) -> None:
    """Fail to sign in until one has to wait."""
    for _ in range(5):
        try_to_sign_in(page)


def ask_for_a_code(page: Page) -> None:
    """Ask for a code."""
    fill_names(page)
    press(page, SEND)


def mistype_a_code(page: Page) -> None:
    """Ask for a code, and type another."""
    ask_for_a_code(page)
    sent(code="0000-0000", password="five other words are needed", again="five other words are needed")(page)


def ask_for_too_little(page: Page) -> None:
    """Ask for a code, and then for nothing with it."""
    ask_for_a_code(page)
    press(page, SEND)


def ask_to_unsubscribe(page: Page) -> None:
    """Ask for a link to withdraw a consent with."""
    fill_names(page)
    press(page, SEND)


def lose_the_session(page: Page) -> None:
    """Go on with a session that has ended meanwhile."""
    page.context.add_cookies([{"name": "cloudpriv", "value": "over", "url": page.url}])
    page.goto("/portal/identity")


def send_a_stale_form(page: Page) -> None:
    """Send a form that was open for too long."""
    page.locator("main [name=csrf_token]").first.evaluate("each => { each.value = 'of another session' }")
    press(page, SEND)


def have_oneself_erased(page: Page) -> None:
    """Tick the box and send the form."""
    page.check("[name=sure]")
    press(page, SEND)


def type_the_code(page: Page, site: Site) -> None:
    """Ask for a code as somebody who is there, and make a request with it."""
    before = len(site.mailbox.received)
    fill_names(page, account_name="deep-sleep", username="robyn")
    press(page, SEND)
    mail = site.mail_to("robyn@deep-sleep.example", lambda text: CODE.search(text) is not None, before)
    found = CODE.search(mail)
    assert found is not None
    page.fill("[name=code]", found[0])
    page.select_option("[name=type]", "access")
    press(page, SEND)
    assert page.locator("[name=code]").count() == 0, page.inner_text("main")


PAGES: Final = (
    Shown("sign-in", "sign_in.show", "/portal/sign-in"),
    Shown("sign-in-wrong", "sign_in.enter", "/portal/sign-in", after=try_to_sign_in),
    Shown("sign-in-too-often", "sign_in.enter", "/portal/sign-in", after=try_too_often),
    Shown("sign-in-ended", "sign_in.show", "/portal/notice", "sleeper", lose_the_session),
    Shown("code", "password.show_code", "/portal/sign-in/code"),
    Shown("new-password", "password.ask", "/portal/sign-in/code", after=ask_for_a_code),
    Shown("new-password-wrong", "password.change", "/portal/sign-in/code", after=mistype_a_code),
    Shown("overview", "overview.show", "/portal/", "owner"),
    Shown("overview-of-a-member", "overview.show", "/portal/", "member"),
    Shown("overview-of-a-newcomer", "overview.show", "/portal/", "newcomer"),
    Shown("overview-restricted", "overview.show", "/portal/", "restricted"),
    Shown("overview-restricted-by-staff", "overview.show", "/portal/", "halted"),
    Shown("overview-of-a-restricted-member", "overview.show", "/portal/", "silenced"),
    Shown("overview-closing", "overview.show", "/portal/", "leaver"),
    Shown("overview-held", "overview.show", "/portal/", "held"),
    Shown("overview-late", "overview.show", "/portal/", "waiter"),
    Shown("overview-to-lift", "overview.show", "/portal/?lift=yes", "restricted"),
    Shown("overview-lifted", "overview.show", "/portal/", "owner", said=("lifted",)),
    Shown("overview-left", "overview.show", "/portal/", "owner", said=("left",)),
    Shown("overview-with-announcement", "overview.show", "/portal/", "doubter"),
    Shown("identity", "identity.show", "/portal/identity", "owner"),
    Shown("identity-of-a-member", "identity.show", "/portal/identity", "member"),
    Shown("identity-closing", "identity.show", "/portal/identity", "leaver"),
    Shown("identity-changed", "identity.show", "/portal/identity", "owner", said=("name", "address", "company_name")),
    Shown("identity-stale-form", "identity.change", "/portal/identity", "owner", send_a_stale_form),
    Shown("identity-wrong", "identity.change", "/portal/identity", "owner", sent(phones="+46 " * 30)),
    Shown("identity-unchanged", "identity.show", "/portal/identity", "owner", sent()),
    Shown("email", "identity.show_email", "/portal/identity/email", "owner"),
    Shown("email-wrong", "identity.change_email", "/portal/identity/email", "owner", sent(email="nobody")),
    Shown("devices", "own_devices.show", "/portal/devices", "owner"),
    Shown("devices-none", "own_devices.show", "/portal/devices", "newcomer"),
    Shown("devices-of-a-member", "own_devices.show", "/portal/devices", "member"),  # refused: 403
    Shown("traffic", "own_traffic.show", "/portal/traffic", "owner"),
    Shown("traffic-of-a-member", "own_traffic.show", "/portal/traffic", "member"),
    Shown("traffic-none", "own_traffic.show", "/portal/traffic", "newcomer"),
    Shown("traffic-wrong", "own_traffic.show", "/portal/traffic?from=2026-13-01", "owner"),
    Shown("traffic-nothing-fits", "own_traffic.show", "/portal/traffic?from=2001-01-01&to=2001-01-02", "owner"),
    Shown("access", "access.show", "/portal/access", "owner"),
    Shown("access-of-a-member", "access.show", "/portal/access", "member"),
    Shown("consents", "consents.show", "/portal/consents", "owner"),
    Shown("consents-asked", "consents.show", "/portal/consents", "owner", said=("asked",)),
    Shown("consents-sent-before", "consents.show", "/portal/consents", "owner", said=("sent_before",)),
    Shown("consents-none", "consents.show", "/portal/consents", "newcomer"),
    Shown("consents-restricted", "consents.show", "/portal/consents", "restricted"),
    Shown("consent-to-confirm", "unsubscribe.look", "/portal/consents/confirm/{to_confirm}"),
    Shown("consent-confirmed", "unsubscribe.look", "/portal/consents/confirm/{confirmed}"),
    Shown("consent-link-over", "unsubscribe.look", "/portal/consents/confirm/{over}"),
    Shown("unsubscribed", "unsubscribe.before_leaving", "/portal/unsubscribe/{unsubscribed}"),
    Shown("unsubscribe", "unsubscribe.before_leaving", "/portal/unsubscribe/{unsubscribe}"),
    Shown("unsubscribe-form", "unsubscribe.show_form", "/portal/unsubscribe"),
    Shown("unsubscribe-form-sent", "unsubscribe.ask_by_form", "/portal/unsubscribe", after=ask_to_unsubscribe),
    Shown("sessions", "own_sessions.show", "/portal/sessions", "owner"),
    Shown("password", "password.show", "/portal/password", "owner", stale=True),
    Shown(
        "password-wrong", "password.confirm", "/portal/password", "newcomer", sent(password="not the password"), stale=True
    ),
    Shown("change-password", "password.show_change", "/portal/change-password", "owner"),
    Shown("owners", "owners.show", "/portal/owners", "doubter"),
    Shown("owners-none", "owners.show", "/portal/owners", "owner"),
    Shown("ask", "ask.show", "/portal/ask"),
    Shown("ask-request", "ask.send", "/portal/ask", after=ask_for_a_code),
    Shown("ask-request-wrong", "ask.ask", "/portal/ask", after=ask_for_too_little),
    Shown("ask-taken", "ask.ask", "/portal/ask", by_mail=type_the_code),
    Shown("announcement", "announcement.show", "/portal/announcement", "doubter"),
    Shown("announcement-seen", "announcement.show", "/portal/announcement", "owner"),
    Shown("notice", "notice.show", "/portal/notice"),
    Shown("notice-signed-in", "notice.show", "/portal/notice", "owner"),
    Shown("notice-next", "notice.show_next", "/portal/notice/next"),
    Shown("exports", "exports.list_exports", "/portal/exports", "owner"),
    Shown("exports-of-a-member", "exports.list_exports", "/portal/exports", "member"),
    Shown("exports-none", "exports.list_exports", "/portal/exports", "newcomer"),
    Shown("export-new", "exports.show_new", "/portal/exports/new", "owner"),
    Shown("export-new-of-a-member", "exports.show_new", "/portal/exports/new", "member"),
    *(Shown(f"export-{state}", "exports.show", f"/portal/exports/{{{state}}}", "owner") for state in ("ready", *STATES)),
    Shown("export-link-over", "exports.show", "/portal/exports/{ready}", "owner", said=("late",)),
    Shown("requests", "requests.list_requests", "/portal/requests", "owner"),
    Shown("requests-of-a-member", "requests.list_requests", "/portal/requests", "member"),
    Shown("requests-none", "requests.list_requests", "/portal/requests", "newcomer"),
    Shown("requests-late", "requests.list_requests", "/portal/requests", "waiter"),
    Shown("request-late", "requests.show", "/portal/requests/{late}", "waiter"),
    Shown("request-without-copy", "requests.show", "/portal/requests/{without_copy}", "waiter"),
    Shown("request-held", "requests.show", "/portal/requests/{held}", "held"),
    Shown("request-types", "requests.show_types", "/portal/requests/new", "owner"),
    *(Shown(f"request-new-{each}", "requests.show_new", f"/portal/requests/new/{each}", "owner") for each in TYPES),
    *(
        Shown(f"request-new-{each}-wrong", "requests.ask", f"/portal/requests/new/{each}", "newcomer", sent())
        for each in ("objection", "restriction", "erasure")
    ),
    Shown("request-new-of-a-member", "requests.show_new", "/portal/requests/new/erasure", "member"),
    *(
        Shown(f"request-{each}", "requests.show", f"/portal/requests/{{{each}}}", "owner")
        for each in ("copy", "objection", "refused", "withdrawn", "own_objection", "letter")
    ),
    Shown("request-erased", "requests.ask", "/portal/requests/new/erasure", "parting", have_oneself_erased, once=True),
    Shown("request-closing", "requests.show", "/portal/requests/{closing}", "leaver"),
    Shown("request-restriction", "requests.show", "/portal/requests/{restriction}", "restricted"),
    Shown("closing", "closing.show", "/portal/closing", "owner"),
    Shown("closing-of-a-member", "closing.show", "/portal/closing", "member"),
    Shown("closing-restricted", "closing.show", "/portal/closing", "restricted"),
    Shown("closing-begun", "closing.show", "/portal/closing", "leaver"),
    Shown("closing-held", "closing.show", "/portal/closing", "held"),
    Shown("closing-undone", "closing.show", "/portal/closing", "owner", said=("undone",)),
    Shown("closing-confirm", "closing.show_confirm", "/portal/closing/confirm", "owner"),
    Shown("closing-confirm-restricted", "closing.show_confirm", "/portal/closing/confirm", "restricted"),
    Shown("closing-confirm-wrong", "closing.close", "/portal/closing/confirm", "owner", sent(account_name="another")),
    Shown("not-found", "frame.root", "/portal/nothing-here", "owner"),
    Shown("not-found-by-a-stranger", "frame.root", "/portal/nothing-here"),
)

# What answers GET and is no page, and why.
NO_PAGES: Final = {
    "ask.restart": "leads to the form that asks for a code",
    "closing.show_undo": "leads to the page of the closing",
    "exports.download": "the archive",
    "exports.progress": "a number, for a script",
    "frame.asset": "style sheet, script and icon",
    "frame.root": "leads to the portal's first page",
    "frame.without_slash": "leads to the portal's first page",
    "password.restart": "leads to the form that asks for a code",
    "static": "Flask's own, of an app without a folder of files",
}
