"""Grounds on which a request may be refused: a closed set, each with its article of the GDPR for each type of request."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from cloudpriv.platform.errors import FieldError, InvalidError

RequestType = Literal["access", "portability", "rectification", "erasure", "restriction", "objection", "consent_withdrawal"]
TYPES: Final[tuple[RequestType, ...]] = get_args(RequestType)

UNIDENTIFIED: Final = "identity_not_verified"
GROUNDS: Final[Mapping[str, Mapping[str, str]]] = {
    "manifestly_unfounded": dict.fromkeys(TYPES, "12(5)(b)"),
    "excessive": dict.fromkeys(TYPES, "12(5)(b)"),
    UNIDENTIFIED: dict.fromkeys(TYPES, "12(6)"),
    "legal_obligation": {"erasure": "17(3)(b)"},
    "legal_claims": {"erasure": "17(3)(e)", "objection": "21(1)"},
    "compelling_grounds": {"objection": "21(1)"},
    "others_rights": {"access": "15(4)", "portability": "20(4)"},
    "data_accurate": {"rectification": "16"},
    "not_applicable": {
        "access": "15(1)",
        "portability": "20(1)",
        "rectification": "16",
        "erasure": "17(1)",
        "restriction": "18(1)",
        "objection": "21(1)",
        "consent_withdrawal": "7(3)",
    },
}


def check_ground(type_: str, ground: str, *, verified: bool) -> None:
    """Raises InvalidError for a ground on which a request of this type cannot be refused.

    Who was identified is not refused for want of identity.
    """
    if type_ not in GROUNDS.get(ground, {}):
        raise InvalidError(errors=(FieldError("/ground", "is no ground to refuse a request of this type"),))
    if ground == UNIDENTIFIED and verified:
        raise InvalidError(errors=(FieldError("/ground", "does not fit: who asks was identified"),))
