"""How a page of the portal is made: one set of templates, strict about names, in the reader's language.

A template extends `base.html`; every text in it goes through the catalogues. `render` fills it in; `error` answers a
failure with a page that says what happened and what to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, current_app, g, request, url_for
from flask_babel import LazyString, gettext, ngettext
from flask_babel import lazy_gettext as _l
from jinja2 import Environment, PackageLoader, StrictUndefined

from cloudpriv.portal import assets, cookies, i18n

HTML: Final = "text/html; charset=utf-8"
ERROR: Final = "error.html"
VISIT: Final = "portal_visit"  # where the guard leaves who is signed in, for the frame around the page


@dataclass(frozen=True)
class Entry:
    """A page in the navigation: the endpoint that shows it, and its name."""

    endpoint: str
    name: LazyString


NAVIGATION: Final = (
    Entry("overview.show", _l("Overview")),
    Entry("identity.show", _l("Identity")),
    Entry("own_devices.show", _l("Devices")),
    Entry("own_traffic.show", _l("Traffic")),
    Entry("exports.list_exports", _l("Take your data")),
    Entry("requests.list_requests", _l("Requests")),
    Entry("consents.show", _l("Consents")),
    Entry("access.show", _l("Who looked")),
    Entry("own_sessions.show", _l("Sign-ins")),
    Entry("notice.show", _l("Privacy notice")),
    Entry("closing.show", _l("Close the account")),
)
# Title and advice of a failure by its status; what is not here is told as a fault of ours or of the request.
ERRORS: Final[Mapping[int, tuple[LazyString, LazyString]]] = {
    400: (_l("That did not work"), _l("The page was sent something that it does not understand. Go back and try again.")),
    403: (_l("Not for this sign-in"), _l("Your sign-in does not cover this page. An owner of the account can see it.")),
    404: (_l("Page not found"), _l("There is nothing at this address that you can see.")),
    405: (_l("That did not work"), _l("This page cannot be used in that way. Go back and try again.")),
    409: (_l("Not possible right now"), _l("The account is in a state in which this cannot be done.")),
    410: (_l("It is gone"), _l("What was here has been erased, as its retention rule says.")),
    412: (_l("Somebody was faster"), _l("It was changed since you opened the page. Open it again and repeat your change.")),
    413: (_l("Too much at once"), _l("What was sent is larger than this page takes.")),
    423: (
        _l("Processing is restricted"),
        _l("The account is restricted: its data is stored and can be taken along, but it is not used or changed."),
    ),
    429: (_l("Too many attempts"), _l("Wait a moment, then try again.")),
    500: (_l("Something went wrong"), _l("The fault is on our side and has been noted. Try again in a few minutes.")),
    503: (_l("Too busy right now"), _l("Try again in a moment. Nothing was lost.")),
}


def render(template: str, /, *, status: int = 200, **values: Any) -> Response:
    """The page of a template; the title of a form's says so if nothing came of it.

    Raises UndefinedError for a name in the template that is not given.
    """
    frame = {"visit": g.get(VISIT), "language": i18n.language(), "failed": status >= 400 and template != ERROR}
    page = ENVIRONMENT.get_template(template).render({**frame, **values})
    return Response(page, status, content_type=HTML)


def error(status: int, problem: str) -> Response:
    """The page of a failure; `problem` is its stable code (see `api.problems`), by which support can find it."""
    title, advice = ERRORS.get(status) or ERRORS[500 if status >= 500 else 400]
    return render(ERROR, status=status, code=status, title=title, advice=advice, problem=problem)


def navigation() -> list[tuple[str, LazyString, bool]]:
    """Address and name of each page that opens for who is signed in, and whether it is the one that is shown."""
    here = request.blueprint
    known = [entry for entry in NAVIGATION if exists(entry.endpoint) and _opens(entry.endpoint)]
    return [(url_for(entry.endpoint), entry.name, entry.endpoint.partition(".")[0] == here) for entry in known]


def exists(endpoint: str) -> bool:
    """Whether the app serves a page."""
    return endpoint in current_app.view_functions


def _opens(endpoint: str) -> bool:
    """Whether the guard lets who is signed in see a page."""
    return g.get(VISIT).session.role == "owner" or not getattr(current_app.view_functions[endpoint], "owners_only", False)


def lapsed() -> bool:
    """Whether somebody was signed in in this browser, and is not any more without having signed out."""
    return g.get(VISIT) is None and cookies.read(cookies.SESSION) is not None


def here() -> str:
    """The address of this page, to come back to after a change of the language."""
    return request.full_path.removesuffix("?")


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cloudpriv.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]  # of the extension
    shown = (i18n.day, i18n.moment, i18n.second, i18n.month, i18n.number, i18n.size, i18n.duration)
    made.filters.update({each.__name__: each for each in shown})
    made.globals.update(url_for=url_for, asset=assets.address, navigation=navigation, exists=exists, here=here,
                        lapsed=lapsed, languages=i18n.LANGUAGES)  # fmt: skip
    return made


ENVIRONMENT: Final = _environment()
