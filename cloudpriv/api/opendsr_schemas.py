"""What OpenDSR requests and our answers look like (OpenDSR 2.0, 6 to 9)."""

from typing import Any, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from cloudpriv.api.logdata.access import runtime
from cloudpriv.api.schemas import Pattern, Strict, UtcTime, any_text
from cloudpriv.platform import outbound
from cloudpriv.platform.certificate import Certificate
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.outbound import LONGEST, Network
from cloudpriv.processor.subjects import identities, opendsr
from cloudpriv.processor.subjects.identities import Identity

GUID: Final = Pattern(
    "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", "Must be a UUID of version 4 in lower case."
)


def certificate() -> Certificate:
    """What answers are signed by. Raises NotFoundError where there is no OpenDSR."""
    found = runtime().services.certificate
    if found is None:
        raise NotFoundError("There is no OpenDSR here: no certificate is set.")
    return found


def _networks() -> tuple[Network, ...]:
    return outbound.networks(runtime().services.settings.opendsr_callback_networks)


def identity_of(data: dict[str, Any]) -> Identity:
    """An identity of a request's body."""
    return Identity(data["identity_type"], data["identity_format"], data["identity_value"])


def _callback_url(value: str) -> None:
    try:
        outbound.check_url(value, _networks())
    except ValueError as fault:
        raise ValidationError(str(fault)) from None


class IdentityIn(Strict):
    """Who or what the request is about."""

    identity_type = fields.String(required=True, validate=validate.OneOf(identities.TYPES))
    identity_value = any_text("kim@customer.example", required=True, longest=500)
    identity_format = fields.String(required=True, validate=validate.OneOf(identities.FORMATS))

    @validates_schema
    def comparable(self, data: dict[str, Any], **_: Any) -> None:
        """A hash has to be one."""
        try:
            identities.check(identity_of(data))
        except ValueError as fault:
            raise ValidationError(str(fault), "identity_value") from None


class SubjectRequestIn(Strict):
    """A data subject's request (OpenDSR 2.0, 7.1.1). Extensions for other processors are not looked at."""

    regulation = fields.String(required=True, validate=validate.OneOf(opendsr.REGULATIONS))
    subject_request_id = fields.String(required=True, validate=GUID)
    subject_request_type = fields.String(required=True, validate=validate.OneOf(opendsr.TYPES))
    submitted_time = UtcTime(required=True)
    subject_identities = fields.List(fields.Nested(IdentityIn), required=True, validate=validate.Length(min=1, max=50))
    api_version = fields.String(validate=Pattern(r"^2(\.[0-9]{1,3})?$", "Must be 2.0."))
    status_callback_urls = fields.List(
        fields.String(validate=_callback_url, metadata={"format": "uri", "maxLength": LONGEST}),
        load_default=list,
        validate=validate.Length(max=10),
    )
    extensions = fields.Dict(keys=fields.String(), values=fields.Dict(), load_default=dict)

    @validates_schema
    def none_of_ours(self, data: dict[str, Any], **_: Any) -> None:
        """We have none: what was meant to narrow the request must not be passed over."""
        if certificate().domain in data["extensions"]:
            raise ValidationError("There are none for this processor.", "extensions")


class _Told(Strict):
    controller_id = fields.String(required=True)
    subject_request_id = fields.String(required=True)
    api_version = fields.String(required=True)


class SubjectRequestOut(_Told):
    """A request that was taken."""

    received_time = UtcTime(required=True)
    expected_completion_time = UtcTime(required=True)
    encoded_request = fields.String(required=True, metadata={"description": "The body that was sent, in base64."})


class SubjectRequestStatusOut(_Told):
    """How a request goes."""

    expected_completion_time = UtcTime(required=True)
    request_status = fields.String(
        required=True, validate=validate.OneOf(["pending", "in_progress", "completed", "cancelled"])
    )
    results_url = fields.URL(metadata={"description": "Of a completed one, unless it is an erasure."})
    results_count = fields.Integer(metadata={"description": "Points that were found, or erased, by a completed one."})


class CancellationOut(_Told):
    """A request that was cancelled."""

    received_time = UtcTime(required=True)


class SupportedIdentityOut(Strict):
    """An identity that requests may name."""

    identity_type = fields.String(required=True, validate=validate.OneOf(identities.TYPES))
    identity_format = fields.String(required=True, validate=validate.OneOf(identities.FORMATS))


class DiscoveryOut(Strict):
    """What of OpenDSR there is here."""

    api_version = fields.String(required=True)
    supported_identities = fields.List(fields.Nested(SupportedIdentityOut), required=True)
    supported_subject_request_types = fields.List(fields.String(validate=validate.OneOf(opendsr.TYPES)), required=True)
    processor_certificate = fields.URL(required=True)


class RefusalDetailOut(Strict):
    """One thing that is wrong."""

    domain = fields.String(required=True)
    reason = fields.String(required=True)
    message = fields.String(required=True)


class RefusalOut(Strict):
    """Why a request is refused."""

    code = fields.Integer(required=True)
    message = fields.String(required=True)
    errors = fields.List(fields.Nested(RefusalDetailOut), required=True)


class OpenDsrErrorOut(Strict):
    """A refusal (OpenDSR 2.0, 7.6)."""

    error = fields.Nested(RefusalOut, required=True)
