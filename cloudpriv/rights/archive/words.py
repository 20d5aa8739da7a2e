"""The values of an archive's readable page in words: closed sets, countries, times, days, yes and no (`values.toml`).

What a person or staff wrote stays as it is written; the files of the archive have every value as it is stored.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from babel import Locale, dates

from cloudpriv import mail_templates
from cloudpriv.controller.delivery import SERVICE_NAMES
from cloudpriv.mail_templates import LOCALES
from cloudpriv.rights import letters
from cloudpriv.rights.archive import texts as archive_texts
from cloudpriv.rights.articles import cited
from cloudpriv.rights.cases.grounds import GROUNDS
from cloudpriv.rights.consents.records import PURPOSES, texts

# Which set a value is of: by member of the archive and name, also within documents; without a member, in all of them.
SETS: Final[Mapping[tuple[str, str], str]] = {
    ("account", "status"): "account_status",
    ("requests", "type"): "types",
    ("requests", "status"): "request_status",
    ("requests", "channel"): "channel",
    ("requests", "identity_method"): "identity_method",
    ("requests", "identity_verified_by"): "caller",
    ("requests", "outcome"): "outcomes",
    ("requests", "reason"): "reasons",
    ("recipient_notices", "kind"): "notice_kind",
    ("recipient_notices", "status"): "notice_status",
    ("owner_replacements", "status"): "replacement_status",
    ("consents", "purpose"): "purposes",
    ("consents", "event_state"): "consent_state",
    ("consents", "event_type"): "event_type",
    ("consents", "method"): "consent_method",
    ("consents", "validity_duration"): "validity",
    ("consents", "title"): "basis",
    ("consents", "party_role"): "party_role",
    ("consents", "privacy_notice_language"): "language",
    ("disclosures", "safeguard"): "safeguard",
    ("", "service"): "services",
    ("", "role"): "role",
    ("", "scope"): "scope",
    ("", "categories"): "category",
    ("", "language"): "language",
    ("", "locale"): "language",
    ("", "restricted_for"): "cause",
    ("", "restriction_end_ground"): "ends",
}
OF_LETTERS: Final = ("types", "outcomes", "reasons", "grounds", "ends")
# What a record of consent has only to refer to itself and to the policy by, beside the words of the same.
REFERENCES: Final = frozenset({"pii_type", "party_id", "pii_controllers", "authority_party"})
COUNTRIES: Final = frozenset({"country", "jurisdiction"})  # by their codes (ISO 3166-1 alpha-2)
TIMED: Final = re.compile(r"(\w+_)?(at|on|time|from)")
WRITTEN: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


def worded(language: str, member: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row or document of a member (by its stem) with the values that have words in their words, by the same names."""
    return {name: _of(language, member, name, value, row) for name, value in row.items() if name not in REFERENCES}


def words(name: str) -> Mapping[str, Mapping[str, str]]:
    """Every value of a set in every language. Raises KeyError for a set that there is not."""
    if name in OF_LETTERS:
        return mail_templates.phrases(letters.WORDS, name)
    if name == "services":
        return {service: dict.fromkeys(LOCALES, called) for service, called in SERVICE_NAMES.items()}
    if name == "purposes":
        return {purpose: texts(purpose)["title"] for purpose in PURPOSES}
    return {value: dict(zip(LOCALES, each, strict=True)) for value, each in read()[name].items()}


def set_of(member: str, name: str) -> str | None:
    """The set that a value is of; None for one of none."""
    return SETS.get((member, name)) or SETS.get(("", name))


def moment(language: str, at: datetime) -> str:
    """A time to the second, in UTC, as the language writes it."""
    at = at.astimezone(UTC)
    day = mail_templates.written_day(at.date(), language)
    return words("at")["moment"][language].format(day=day, time=f"{at:%H:%M:%S}")


def month(language: str, value: str) -> str:
    """A month of the form YYYY-MM in words, short."""
    return dates.format_skeleton("yMMM", date.fromisoformat(f"{value}-01"), locale=language)


@cache
def read() -> dict[str, Any]:
    """The values as they are written down; the languages are those of `LOCALES`, in its order."""
    return tomllib.loads(files("cloudpriv.rights.archive").joinpath("values.toml").read_text(encoding="utf-8"))


def _of(language: str, member: str, name: str, value: Any, row: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return worded(language, member, value)
    if isinstance(value, list):
        return [_of(language, member, name, each, row) for each in value]
    if isinstance(value, bool):
        return words("yes_no")["true" if value else "false"][language]
    if isinstance(value, str):
        return _text(language, member, name, value, row)
    return _timed(language, value)


def _timed(language: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(language, value)
    return mail_templates.written_day(value, language) if isinstance(value, date) else value


def _text(language: str, member: str, name: str, value: str, row: Mapping[str, Any]) -> str:
    if (member, name) == ("requests", "ground") and value in GROUNDS:
        return f"{words('grounds')[value][language]} ({cited(GROUNDS[value][row['type']], language)})"
    if (member, name) == ("requests", "fields"):
        return archive_texts.label(value, language)
    if (member, name) == ("consents", "article"):
        return cited(value, language)
    if name in COUNTRIES:
        return str(Locale.parse(language).territories.get(value, value))
    among = set_of(member, name)
    if among is not None:
        return words(among).get(value, {}).get(language, value)
    return _written(language, value) if TIMED.fullmatch(name) else value


def _written(language: str, value: str) -> str:
    """A time or day of a document, which has it as text."""
    if WRITTEN.fullmatch(value) is None:
        return value
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return value
    if len(value) == len("2026-06-01"):
        return mail_templates.written_day(at.date(), language)
    return moment(language, at if at.tzinfo else at.replace(tzinfo=UTC))
