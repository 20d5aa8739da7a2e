"""/v1/accounts/{account_id}/people: the users of an account, and their credentials."""

from typing import Any, Final
from uuid import UUID

from flask import Response, url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag, expected_version, transaction
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, Pattern, Strict, after_id, any_text, example, page, page_of, short_text
from cloudpriv.controller import credentials, new_passwords, people
from cloudpriv.controller.people import KnownPerson
from cloudpriv.platform.db import Tx
from cloudpriv.rights import effects
from cloudpriv.rights.erasure import erase_person

blueprint: Final = Blueprint(
    "people",
    __name__,
    url_prefix="/v1/accounts/<uuid:account_id>/people",
    description="The users of an account.",
)
ROLES: Final = ("owner", "member")
LANGUAGE_TAG: Final = Pattern(r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", "Must be a language tag (RFC 5646).")


class IdentityFields(Strict):
    """What identifies a person."""

    name = short_text("Kim Example", nullable=True)
    address = short_text("1 Water Street\n12345 Exampletown", nullable=True, longest=1000)
    phones = fields.List(short_text("+46 70 000 00 00", longest=40), validate=validate.Length(max=10))
    email = fields.Email(allow_none=True, validate=validate.Length(max=254), metadata=example("kim@example.com"))
    company_name = short_text("Acme Water Ltd", nullable=True)
    company_id = short_text("SE556000-0001", nullable=True, longest=64)
    locale = fields.String(allow_none=True, validate=[validate.Length(max=35), LANGUAGE_TAG], metadata=example("en-GB"))


class PersonIn(IdentityFields):
    """A new person."""

    username = short_text("kim", required=True, longest=100)
    role = fields.String(load_default="member", validate=validate.OneOf(ROLES))


class PersonPatch(IdentityFields):
    """Members to change."""

    username = short_text("kim", longest=100)
    role = fields.String(validate=validate.OneOf(ROLES))


class PersonOut(IdentityFields):
    """A person."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    username = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(ROLES))


class CredentialsIn(Strict):
    """A new password; the hint may neither contain nor resemble it."""

    password = any_text("four words make one", required=True, shortest=8, longest=1024, load_only=True)
    hint = any_text("as in the song", load_default=None, allow_none=True, load_only=True)


@blueprint.route("", methods=["POST"])
@endpoint("accounts:write")
@blueprint.arguments(PersonIn)
@blueprint.response(201, PersonOut, headers=CREATED)
def add_person(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Add a person to an account."""
    role = body.pop("role")
    person = people.add_person(tx, account_id, role, body)
    location = url_for("people.read_person", account_id=account_id, person_id=person.row.person_id)
    return shown(person), 201, {**etag(person.row.version), "Location": location}


@blueprint.route("", methods=["GET"])
@endpoint("accounts:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(PersonOut, "Person"), headers=LISTED)
def list_people(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List the people of an account."""
    rows = people.list_people(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, shown, lambda person: person.row.person_id.bytes)


@blueprint.route("/<uuid:person_id>", methods=["GET"])
@endpoint("accounts:read")
@blueprint.response(200, PersonOut, headers=VERSIONED)
def read_person(tx: Tx, account_id: UUID, person_id: UUID) -> Any:
    """Read a person."""
    person = people.read_person(tx, account_id, person_id)
    return shown(person), 200, etag(person.row.version)


@blueprint.route("/<uuid:person_id>", methods=["PATCH"])
@endpoint("accounts:write")
@blueprint.arguments(PersonPatch)
@blueprint.response(200, PersonOut, headers=VERSIONED)
def change_person(tx: Tx, body: dict[str, Any], account_id: UUID, person_id: UUID) -> Any:
    """Rectify a person's data; needs If-Match."""
    person = effects.rectify_person(tx, account_id, person_id, expected_version(), body)
    return shown(person), 200, etag(person.row.version)


@blueprint.route("/<uuid:person_id>", methods=["DELETE"])
@endpoint("accounts:write")
@blueprint.response(204)
@blueprint.alt_response(202, description="The person is gone; what a legal hold keeps is erased when it ends.")
def remove_person(tx: Tx, account_id: UUID, person_id: UUID) -> Any:
    """Erase a person; needs If-Match. Traffic stays without naming the person, and archives of exports end."""
    if erase_person(tx, account_id, person_id, expected_version()):
        return None
    accepted = Response(status=202)
    del accepted.headers["Content-Type"]  # there is no content
    return accepted


@blueprint.route("/<uuid:person_id>/credentials", methods=["PUT"])
@endpoint("credentials:write", unit=False)
@blueprint.arguments(CredentialsIn)
@blueprint.response(204)
def set_credentials(body: dict[str, Any], account_id: UUID, person_id: UUID) -> None:
    """Replace a person's password and hint.

    A password that is easily guessed, or is known to be public, is refused (422), whoever chose it.
    """
    credentials.check_hint(body["password"], body["hint"])
    with transaction() as tx:
        credentials.check_settable(tx, account_id, person_id)
        known = new_passwords.read_about(tx, account_id, person_id)
    new_passwords.check(runtime().passwords, body["password"], known)
    password_hash = runtime().passwords.hash(body["password"])
    with transaction() as tx:
        credentials.set_credentials(tx, account_id, person_id, password_hash, body["hint"])


def shown(person: KnownPerson) -> dict[str, Any]:
    """A person as the API shows them."""
    row = person.row
    return {"id": row.person_id, "account_id": row.account_id, "role": row.role, **person.identity}
