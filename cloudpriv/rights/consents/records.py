"""What a consent is about, as a person is told it and as its record keeps it, in the terms of ISO/IEC TS 27560:2023.

Both come from one place: the question from `texts.toml`, everything else from the policy in force.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args
from uuid import UUID

from cloudpriv import mail_templates
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.policy.register import Policy, choose_language

Purpose = Literal["product_news", "surveys"]
State = Literal["requested", "given", "withdrawal_requested", "withdrawn", "expired"]
# How a person, or a clock, brought an event about.
Method = Literal["portal", "mail_link", "one_click", "form", "request", "backend", "time"]

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
ACTIVITIES: Final[Mapping[Purpose, str]] = {"product_news": "marketing_mail", "surveys": "customer_surveys"}
RECIPIENTS: Final = ("employees", "it_providers", "marketing_partners")
SCHEMA_VERSION: Final = "ISO/IEC TS 27560:2023"
CONSENT: Final = {"title": "consent", "article": "6(1)(a)"}


@dataclass(frozen=True)
class Offer:
    """What a person is told before they consent: the question, and the policy's part of it, in one language."""

    purpose: Purpose
    language: str
    title: str
    question: str
    withdrawal: str
    register: Mapping[str, Any]  # the policy in the language that it is shown in
    controller: Mapping[str, Any]

    @property
    def activity(self) -> Mapping[str, Any]:
        """The policy's processing activity."""
        found: Mapping[str, Any] = next(
            each for each in self.register["activities"] if each["key"] == ACTIVITIES[self.purpose]
        )
        return found

    @property
    def recipients(self) -> list[Mapping[str, Any]]:
        """Who receives the data."""
        return [each for each in self.register["sharing"]["recipients"] if each["key"] in RECIPIENTS]


def offered(policy: Policy) -> list[Purpose]:
    """The purposes that the policy in force knows."""
    known = {each.key for each in policy.activities}
    return [purpose for purpose in PURPOSES if ACTIVITIES[purpose] in known]


def offer(policy: Policy, service: str, purpose: str, language: str | None) -> Offer:
    """What is told about a purpose; the controller is that of the account's service, which is in touch with the person.

    Raises NotFoundError for a purpose that the policy does not know. What the policy has not in a language is told in its
    first one.
    """
    found = next((each for each in offered(policy) if each == purpose), None)
    if found is None:
        raise NotFoundError
    spoken = choose_language([(language or "", 1.0)], mail_templates.LOCALES)
    register = policy.as_register(choose_language([(spoken, 1.0)], policy.languages))
    responsible = policy.controller_of(service).key
    return Offer(
        purpose=found,
        language=spoken,
        title=texts(found)["title"][spoken],
        question=texts(found)["question"][spoken],
        withdrawal=texts("withdrawal")["question"][spoken],
        register=register,
        controller=next(each for each in register["controllers"] if each["key"] == responsible),
    )


@cache
def texts(name: str) -> dict[str, dict[str, str]]:
    """Title and question of a purpose, each by language."""
    read = tomllib.loads(files("cloudpriv.rights.consents").joinpath("texts.toml").read_text(encoding="utf-8"))[name]
    return {
        field: {language: read[language][field] for language in mail_templates.LOCALES} for field in ("title", "question")
    }


def event(state: State, method: Method, at: datetime, entity: str) -> dict[str, Any]:
    """The record's section on the event. Consent itself has no end but withdrawal; what waits for an answer has a week."""
    waits = state in ("requested", "withdrawal_requested")
    return {
        "event_time": at,
        "event_type": "explicit",
        "event_state": state,
        "entity_id": entity,
        "method": method,
        "validity_duration": "P7D" if waits else None,
    }


def header(record_id: UUID, person_id: UUID, policy: Policy) -> dict[str, Any]:
    """The record's header, and the version of the privacy notice that was in force."""
    return {
        "schema_version": SCHEMA_VERSION,
        "record_id": record_id,
        "pii_principal_id": person_id,
        "privacy_notice": {"version": policy.version, "valid_from": policy.valid_from},
    }


def processing(told: Offer) -> dict[str, Any]:
    """The record's sections on processing and parties: all that the person was told, as it was worded."""
    register, activity = told.register, told.activity
    authority, controller = register["supervisory_authority"], told.controller
    return {
        "language": told.language,
        "privacy_notice_language": register["language"],
        "purposes": [
            {
                "purpose": told.purpose,
                "statement": told.question,
                "purpose_description": activity["purposes"],
                "lawful_basis": CONSENT,
                "pii_information": [{"pii_type": each["key"], "description": each["text"]} for each in activity["data"]],
                "pii_controllers": [controller["key"]],
                "recipient_third_parties": [_recipient(each) for each in told.recipients],
                "geographic_restrictions": register["sharing"]["transfers"]["text"],
                "retention_period": activity["retention"]["text"],
                "jurisdiction": controller["country"],
                "withdrawal_method": told.withdrawal,
                "privacy_rights": [f"{each['title']} ({each['article']})" for each in register["rights"]],
                "authority_party": "supervisory_authority",
            }
        ],
        "party_identification": [
            _party(controller["key"], controller["name"], controller, "pii_controller"),
            _party("supervisory_authority", authority["name"], authority, "authority"),
        ],
    }


def _recipient(recipient: Mapping[str, Any]) -> dict[str, str]:
    return {"party_id": recipient["key"], "party_role": recipient["role"], "description": recipient["text"]}


def _party(key: str, name: str, where: Mapping[str, Any], role: str) -> dict[str, Any]:
    return {
        "party_id": key,
        "party_name": name,
        "party_role": role,
        "party_address": [*where["address"], where["country_name"]],
        "party_url": where.get("website"),
    }
