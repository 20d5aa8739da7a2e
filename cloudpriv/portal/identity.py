"""/portal/identity: everybody sees and rectifies what identifies them, owners the customer's company too (GDPR Article 16).

What is typed goes through the API's own schemas. The address that codes are mailed to is changed on a page of its own, which
asks for the password again.
"""

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Response, request, url_for
from flask_babel import LazyString
from flask_babel import lazy_gettext as _l
from marshmallow import Schema, ValidationError

from cloudpriv.api.accounts import CustomerSchema
from cloudpriv.api.people import IdentityFields
from cloudpriv.controller import accounts, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.people import KnownPerson
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import StaleError
from cloudpriv.portal import deeds, guard, i18n, pages, said
from cloudpriv.rights import effects

blueprint: Final = Blueprint("identity", __name__, url_prefix="/portal/identity")
OWN: Final = ("name", "address", "phones", "company_name", "company_id", "locale")
COMPANY: Final = ("company_name", "company_id")
NOTHING: Final = "nothing"
# What is wrong with a field, by its name: what its schema demands, in words.
FAULTS: Final[Mapping[str, LazyString]] = {
    "name": _l("Write at most 200 characters."),
    "address": _l("Write at most 1,000 characters."),
    "phones": _l("Write one number a line, at most ten, each of at most 40 characters."),
    "email": _l("Write one e-mail address, such as kim@example.com."),
    "company_name": _l("Write at most 200 characters."),
    "company_id": _l("Write at most 64 characters."),
    "locale": _l("Choose a language from the list."),
}


@blueprint.get("")
@guard.page()
def show(tx: Tx) -> Response:
    """What identifies the person, to read and to rectify."""
    person, account = _read(tx)
    return _page(person, account)


@blueprint.post("")
@guard.page()
def change(tx: Tx) -> Response:
    """Rectify the person's own data but for the e-mail address; who was given it is told (Article 19)."""
    person, account = _read(tx)
    typed = {name: request.form.get(name, "") for name in OWN}
    fields, errors = _loaded(IdentityFields(), _typed(typed))
    if errors:
        return _page(person, account, typed=typed, errors=errors, status=422)
    return _rectified(tx, person, account, fields, typed)


@blueprint.post("/company")
@guard.page(owner=True)
def change_company(tx: Tx) -> Response:
    """Rectify the company behind the account."""
    person, account = _read(tx)
    company = {name: request.form.get(name, "") for name in COMPANY}
    fields, errors = _loaded(CustomerSchema(), _typed(company))
    if errors:
        return _page(person, account, company=company, company_errors=errors, status=422)
    wanted = _different(fields, account.profile)
    if not wanted:
        return _done(NOTHING)
    try:
        effects.rectify_account(tx, account.row.account_id, _version(), {"customer": wanted}, restricted=True)
    except StaleError:
        return _page(person, account, company=company, stale=True, status=412)
    return _done(*wanted)


@blueprint.get("/email")
@guard.page(fresh=True)
def show_email(tx: Tx) -> Response:
    """The address that mails and codes go to, to change."""
    person, _account = _read(tx)
    return pages.render("email.html", email=person.identity["email"] or "", version=person.row.version, errors={})


@blueprint.post("/email")
@guard.page(fresh=True)
def change_email(tx: Tx) -> Response:
    """Rectify the address that mails and codes go to."""
    person, _account = _read(tx)
    typed = {"email": request.form.get("email", "")}
    fields, errors = _loaded(IdentityFields(), _typed(typed))
    if errors:
        return pages.render(
            "email.html", status=422, email=typed["email"], version=person.row.version, errors=_worded(errors)
        )
    wanted = _different(fields, person.identity)
    if wanted:
        row = person.row
        effects.rectify_person(tx, row.account_id, row.person_id, _version(), wanted, restricted=True)
    return _done(*(wanted or [NOTHING]))


def _rectified(
    tx: Tx, person: KnownPerson, account: OpenedAccount, fields: dict[str, Any], typed: dict[str, str]
) -> Response:
    wanted = _different(fields, person.identity)
    if not wanted:
        return _done(NOTHING)
    row = person.row
    try:
        effects.rectify_person(tx, row.account_id, row.person_id, _version(), wanted, restricted=True)
    except StaleError:
        return _page(person, account, typed=typed, stale=True, status=412)
    return _done(*wanted)


def _read(tx: Tx) -> tuple[KnownPerson, OpenedAccount]:
    session, _account, _person = guard.signed_in()
    person = people.read_person(tx, session.account_id, session.person_id)
    return person, accounts.read_account(tx, session.account_id)


def _page(person: KnownPerson, account: OpenedAccount, *, typed: dict[str, str] | None = None,
          company: dict[str, str] | None = None, errors: Mapping[str, Any] = {}, company_errors: Mapping[str, Any] = {},
          stale: bool = False, status: int = 200) -> Response:  # fmt: skip
    changed = said.heard()
    return pages.render(
        "identity.html",
        status=status,
        person=person,
        account=account,
        typed=typed or _written(person.identity),
        company=company or {name: account.profile.get(name) or "" for name in COMPANY},
        errors=_worded(errors),
        company_errors=_worded(company_errors),
        stale=stale,
        changed=[deeds.field(name) for name in changed if name != NOTHING],
        unchanged=changed == (NOTHING,),
        locales=_locales(person.identity["locale"]),
    )


def _typed(form: Mapping[str, str]) -> dict[str, Any]:
    """What a form says, as the API takes it: nothing is null, phone numbers stand one a line."""
    texts = {name: text.replace("\r\n", "\n").strip() or None for name, text in form.items()}
    if "phones" in texts:
        return {**texts, "phones": [each.strip() for each in (texts["phones"] or "").split("\n") if each.strip()]}
    return dict(texts)


def _written(identity: Mapping[str, Any]) -> dict[str, str]:
    return {name: "\n".join(identity["phones"]) if name == "phones" else identity[name] or "" for name in OWN}


def _loaded(schema: Schema, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the schema makes of the values, and what is wrong with them by their names."""
    try:
        return schema.load(values), {}
    except ValidationError as fault:
        return {}, dict(fault.messages_dict)


def _worded(errors: Mapping[str, Any]) -> dict[str, LazyString]:
    return {name: FAULTS[name] for name in FAULTS if name in errors}


def _different(fields: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value != known.get(name)}


def _version() -> int:
    """The version that the form was made from. Raises StaleError for none."""
    written = request.form.get("version", "")
    if not (written.isascii() and written.isdigit() and len(written) <= 9):
        raise StaleError
    return int(written)


def _done(*names: str) -> Response:
    return said.led(url_for("identity.show"), *names)


def _locales(known: str | None) -> list[tuple[str, str]]:
    """Languages to choose from; a tag that is known stays as it is, with its region."""
    own = i18n.spoken(known)
    choices = [(known if code == own and known else code, name) for code, name in i18n.LANGUAGES.items()]
    return choices if own or not known else [(known, known), *choices]
