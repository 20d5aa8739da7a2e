"""Why a new password is not taken, in words for who chose it."""

from flask import request
from flask_babel import gettext as _

from cloudpriv.api.runtime import runtime
from cloudpriv.controller.new_passwords import About, Weakness, weakness


class NotTakenError(Exception):
    """A new password is not to be taken; the text says why."""


def check(known: About) -> None:
    """Raises NotTakenError for the new password of the form that was sent; BusyError when it cannot be judged right now."""
    check_same()
    fault = weakness(runtime().passwords, request.form.get("password", ""), known)
    if fault is not None:
        raise NotTakenError(_words()[fault])


def check_same() -> None:
    """Raises NotTakenError when the new password was not typed twice the same."""
    if request.form.get("again", "") != request.form.get("password", ""):
        raise NotTakenError(_("The two are not the same."))


def _words() -> dict[Weakness, str]:
    return {
        "too_short": _("It needs at least 8 characters; several words are a good choice."),
        "too_long": _("It is longer than 1024 characters."),
        "has_name": _("It has the name of the service, of the account or your own in it."),
        "guessable": _(
            "It is easily guessed: many people use it or one like it, or it is made of names that others know. Take several "
            "words that do not belong together."
        ),
        "breached": _(
            "It became public when another site was broken into, and is among the first that strangers try. Take one that "
            "you use nowhere else."
        ),
    }
