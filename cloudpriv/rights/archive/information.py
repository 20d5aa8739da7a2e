"""The information of GDPR Article 15(1) and (2) that goes with a copy of the data, from the policy in force."""

from typing import Any, Final

from cloudpriv.controller.tables import Account
from cloudpriv.platform.classify import Category, classification_of, exported_columns, exported_tables
from cloudpriv.platform.db import ControllerBase
from cloudpriv.policy.register import Policy
from cloudpriv.retention.due import purge_due_on

# Article 15(1)(h). The policy names none, and nothing in this service decides anything about a person.
NO_AUTOMATED_DECISIONS: Final = {
    "en": "No decision is based solely on automated processing, profiling included (Article 22).",
    "sv": "Inget beslut grundas enbart på automatiserad behandling, inbegripet profilering (artikel 22).",
    "fr": "Aucune décision ne repose exclusivement sur un traitement automatisé, y compris le profilage (article 22).",
    "es": "Ninguna decisión se basa solo en el tratamiento automatizado, incluida la elaboración de perfiles (artículo 22).",
}


def of_account(policy: Policy, account: Account, language: str, *, disclosures: int) -> dict[str, Any]:
    """What `processing` tells, with what holds for this account: how many disclosures the archive lists, and from which day
    the account may be erased if no traffic comes before. Raises KeyError as `processing` does.
    """
    told = processing(policy, account.service, language)
    told["recipients"] |= {"disclosures": {"file": "disclosures.json", "rows": disclosures}}
    due_on = purge_due_on(policy, account.created_at, account.last_traffic_at)
    return told | {"erasure_due_on": due_on.isoformat()}


def processing(policy: Policy, service: str, language: str) -> dict[str, Any]:
    """What a data subject is to be told of the processing for a service, in one of the policy's languages.

    Members in the order of Article 15: (1)(a) purposes, (b) categories, (c) recipients, (d) retention, (e) rights,
    (f) complaint, (g) source, (h) automated decisions, and (2) safeguards of transfers. Raises KeyError for another.
    """
    register = policy.as_register(language)
    activities = [each for each in register["activities"] if each["key"] in _activities()]
    said = {each["key"]: each["text"] for each in register["statements"]}
    bases = {each["key"]: each for each in register["lawful_bases"]}
    responsible = policy.controller_of(service).key
    return {
        "policy_version": register["version"],
        "controller": next(each for each in register["controllers"] if each["key"] == responsible),
        "purposes": [
            {
                **{name: each[name] for name in ("key", "title", "purposes", "notes")},
                "lawful_basis": [{**bases[ground["basis"]], **ground} for ground in each["lawful_basis"]],
            }
            for each in activities
        ],
        "categories": [category for each in activities for category in each["data"]],
        "recipients": {name: register["sharing"][name] for name in ("statements", "recipients")},
        "retention": [{"activity": each["key"], **each["retention"]} for each in activities],
        "rights": register["rights"],
        "exercise": register["exercise"],
        "complaint": register["supervisory_authority"],
        "source": said["source"],
        "automated_decisions": NO_AUTOMATED_DECISIONS[language],
        "transfers": register["sharing"]["transfers"],
    }


def _activities() -> frozenset[str]:
    """The policy's activities that the exported columns serve; what only runs the service serves none of its own."""
    columns = (column for table in exported_tables(ControllerBase.metadata) for column in exported_columns(table).values())
    marks = (classification_of(column) for column in columns)
    return frozenset(mark.purpose for mark in marks if mark is not None and mark.category is not Category.OPERATION)
