"""/portal/notice: the privacy notice (GDPR Articles 13 and 14), derived whole from the policy in force, or from the next."""

from datetime import date
from typing import Final

from flask import Blueprint, Response, url_for

from cloudpriv.api.endpoint import call
from cloudpriv.api.runtime import runtime
from cloudpriv.policy.register import Policy, choose_language
from cloudpriv.portal import guard, i18n, pages

blueprint: Final = Blueprint("notice", __name__, url_prefix="/portal/notice")
# The statements that belong to other parts of the notice than its beginning.
PLACED: Final = frozenset({"source", "responsibility", "security", "cookies", "changes"})


@blueprint.get("")
@guard.page(public=True, unit=False)
def show() -> Response:
    """The notice in force in the reader's language, or in the policy's first one where it has not that."""
    policies, now = runtime().services.policies, call().now
    after = policies.after(now)
    return _page(policies.at(now), replaced_on=after.valid_from if after else None)


@blueprint.get("/next")
@guard.page(public=True, unit=False)
def show_next() -> Response:
    """The notice that is not in force yet; the one in force once its day has come, so that links to it stay true."""
    after = runtime().services.policies.after(call().now)
    return guard.redirected(url_for("notice.show")) if after is None else _page(after, comes=True)


def _page(policy: Policy, *, replaced_on: date | None = None, comes: bool = False) -> Response:
    language = choose_language([(i18n.language(), 1.0)], policy.languages)
    register = policy.as_register(language)
    return pages.render(
        "notice.html",
        policy=register,
        valid_from=policy.valid_from,
        replaced_on=replaced_on,
        comes=comes,
        written_in=language,
        bases={each["key"]: each for each in register["lawful_bases"]},
        statements={each["key"]: each["text"] for each in register["statements"]},
        opening=[each["text"] for each in register["statements"] if each["key"] not in PLACED],
    )
