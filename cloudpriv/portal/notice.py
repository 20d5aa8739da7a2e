"""/portal/notice: the privacy notice (GDPR Articles 13 and 14), derived whole from the policy in force."""

from typing import Final

from flask import Blueprint, Response

from cloudpriv.api.runtime import runtime
from cloudpriv.policy.register import choose_language
from cloudpriv.portal import guard, i18n, pages

blueprint: Final = Blueprint("notice", __name__, url_prefix="/portal")
# The statements that belong to other parts of the notice than its beginning.
PLACED: Final = frozenset({"source", "responsibility", "security", "cookies", "changes"})


@blueprint.get("/notice")
@guard.page(public=True, unit=False)
def show() -> Response:
    """The notice in the reader's language, or in the policy's first one where it has not that."""
    policy = runtime().services.policy
    language = choose_language([(i18n.language(), 1.0)], policy.languages)
    register = policy.as_register(language)
    return pages.render(
        "notice.html",
        policy=register,
        valid_from=policy.valid_from,
        written_in=language,
        bases={each["key"]: each for each in register["lawful_bases"]},
        statements={each["key"]: each["text"] for each in register["statements"]},
        opening=[each["text"] for each in register["statements"] if each["key"] not in PLACED],
    )
