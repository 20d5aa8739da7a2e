"""The policy as a register: who answers for what, what is processed and why, and when it has to go."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from cloudpriv.policy.periods import Period
from cloudpriv.policy.reading import read_file
from cloudpriv.policy.schema import (
    Activity,
    Authority,
    Controller,
    Housekeeping,
    Language,
    LawfulBasis,
    ProcessorTerms,
    Recipient,
    Retention,
    Right,
    Service,
    Sharing,
    Statement,
    Text,
    Word,
)

IN_FORCE = Path(__file__).with_name("2023-03-30.toml")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the privacy policy, whole."""

    version: Word
    valid_from: date
    major: bool = False  # whether it changes so much that every owner is told (see rights.announcements)
    languages: tuple[Language, ...]
    title: Text
    statements: tuple[Statement, ...]
    controllers: tuple[Controller, ...]
    services: tuple[Service, ...]
    supervisory_authority: Authority
    lawful_bases: tuple[LawfulBasis, ...]
    anchors: tuple[Statement, ...]
    activities: tuple[Activity, ...]
    sharing: Sharing
    rights: tuple[Right, ...]
    exercise: tuple[Statement, ...]
    housekeeping: tuple[Housekeeping, ...] = ()
    processor: ProcessorTerms | None = None

    def __post_init__(self) -> None:
        if any(each.role != "processor" for each in self.sub_processors):
            raise ValueError("a sub-processor is a recipient in the role of processor")

    @property
    def sub_processors(self) -> tuple[Recipient, ...]:
        """Who processes log data for the vendor (GDPR article 28(2))."""
        listed = self.processor.sub_processors if self.processor else ()
        return tuple(each for each in self.sharing.recipients if each.key in listed)

    def controller_of(self, service: str) -> Controller:
        """Return the controller responsible for a service. Raises KeyError for an unknown one."""
        responsible = {each.key: each.controller for each in self.services}[service]
        return {each.key: each for each in self.controllers}[responsible]

    def rule_for(self, key: str) -> Retention:
        """Return the retention rule of an activity, or of something the service keeps for itself, by its key.

        The account purge runs on `rule_for("cloud_services")`. Raises KeyError for an unknown key.
        """
        rules = {each.key: each.retention for each in self.activities}
        return (rules | {each.key: each.retention for each in self.housekeeping})[key]

    def as_register(self, language: str) -> dict[str, Any]:
        """Return the whole policy in one of its `languages` as JSON values: RFC 3339 dates, ISO 8601 periods.

        Its fields are those of this class, plus `language`, and the `services` of each controller. Raises
        KeyError for a language the policy has not.
        """
        register: dict[str, Any] = _rendered(self, language)
        for controller in register["controllers"]:
            controller["services"] = [each.key for each in self.services if each.controller == controller["key"]]
        return {"language": language, **register}

    def as_processor_record(self, language: str) -> dict[str, Any]:
        """Return what the policy says of log data that is processed for customers, as `as_register` does (article 30(2)).

        `processors` are the companies whose services keep log data; the customer's is that of its service. Texts are None
        and lists empty where the policy says nothing of its terms.
        """
        register = self.as_register(language)
        terms = register["processor"] or dict.fromkeys(ProcessorTerms.__struct_fields__)
        named = {each.key for each in self.sub_processors}
        serving = {self.controller_of(service).key for each in self.activities if each.role == "processor"
                   for service in each.services}  # fmt: skip
        return {
            "language": language,
            "policy_version": self.version,
            "terms": {"version": terms["version"], "text": terms["text"]},
            "controller": terms["controller"],
            "processors": [each for each in register["controllers"] if each["key"] in serving],
            "categories": terms["categories"] or [],
            "sub_processors": [each for each in register["sharing"]["recipients"] if each["key"] in named],
            "sub_processing": terms["sub_processing"],
            "transfers": {"text": terms["transfers"], "safeguards": register["sharing"]["transfers"]["safeguards"]},
            "security": terms["security"] or [],
            "assistance": terms["assistance"] or [],
            "audits": terms["audits"],
            "end": terms["end"] or [],
        }


def load(path: Path | None = None) -> Policy:
    """Return the policy of a TOML file: the one in force when no path is given.

    Raises PolicyError with all faults at once, each with line and key: syntax, unknown or missing keys, wrong
    values, bad periods, missing translations, duplicate keys, unknown references, a service without a
    controller. Raises OSError when the file cannot be read.
    """
    return read_file(path or IN_FORCE, Policy)


def choose_language(preferred: Iterable[tuple[str, float]], available: Sequence[str]) -> str:
    """Return which of the `available` languages serves a reader best: RFC 4647 lookup by descending quality.

    `preferred` is a parsed Accept-Language: (tag, quality) pairs. `sv-SE` finds `sv`; `*` stands for the
    first available language that is not refused by quality 0, and so does a wish that nothing fits.
    """
    wishes = sorted(preferred, key=lambda wish: -wish[1])
    refused = {tag.lower() for tag, quality in wishes if quality <= 0}
    offered = [language for language in available if language not in refused] or list(available)
    for tag, _ in wishes:
        primary = tag.lower().partition("-")[0]
        if primary == "*" or primary in offered:
            return offered[0] if primary == "*" else primary
    return offered[0]


def _rendered(value: Any, language: str) -> Any:
    match value:
        case msgspec.Struct():
            fields = value.__struct_fields__
            return {field: _rendered(getattr(value, field), language) for field in fields}
        case tuple():
            return [_rendered(each, language) for each in value]
        case Mapping():
            return value[language]
        case Period():
            return str(value)
        case date():
            return value.isoformat()
        case _:
            return value
