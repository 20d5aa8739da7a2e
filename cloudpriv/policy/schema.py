"""The schema of the policy file: one struct per kind of table, frozen.

What a struct promises beyond its fields' types is checked as it is made; what spans the whole file (unique
keys, references that have their target, texts in every language) as the file is read.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from cloudpriv.policy.periods import Country, Period, RoundTo, anchor_cutoff, erasable_from

Text: TypeAlias = Mapping[str, str]  # one text in every language of the policy, by language tag

Word = Annotated[str, msgspec.Meta(pattern=r"\S")]
Language = Annotated[str, msgspec.Meta(pattern="^[a-z]{2,3}$")]
Article = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\([0-9a-z]+\))*$")]
CountryCode = Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]
Website = Annotated[str, msgspec.Meta(pattern=r"^https://\S+$")]
Key = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]*$")]
ControllerKey = Annotated[Key, msgspec.Meta(extra={"refers_to": "controllers"})]
ServiceKey = Annotated[Key, msgspec.Meta(extra={"refers_to": "services"})]
BasisKey = Annotated[Key, msgspec.Meta(extra={"refers_to": "lawful_bases"})]
AnchorKey = Annotated[Key, msgspec.Meta(extra={"refers_to": "anchors"})]
RecipientKey = Annotated[Key, msgspec.Meta(extra={"refers_to": "sharing.recipients"})]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of the policy that no machine acts on; also an anchor event, described."""

    key: Key
    text: Text


class Controller(msgspec.Struct, frozen=True, kw_only=True):
    """A group company as controller; mail goes to its address, marked for the attention of `attention`."""

    key: Key
    name: Word
    attention: Text
    address: tuple[Word, ...]
    country: Country
    country_name: Text


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisory authority that complaints go to (GDPR article 77)."""

    name: Text
    address: tuple[Word, ...]
    country: Country
    country_name: Text
    website: Website


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service and the one controller responsible for it."""

    key: Key
    controller: ControllerKey
    title: Text


class LawfulBasis(msgspec.Struct, frozen=True, kw_only=True):
    """A ground for processing; `article` of the GDPR is None where the policy gives no legal ground."""

    key: Key
    title: Text
    article: Article | None = None


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """A lawful basis and the part of an activity that it covers."""

    basis: BasisKey
    applies_to: Text


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long data is kept. Only a `fixed` rule has a period; it runs from its anchor event.

    `until` ends with its anchor event; `customer_decides` and `not_stated` end by no clock. `at_most` marks a
    period that the policy gives as an upper bound. `then` says what comes after it.
    """

    kind: Literal["fixed", "until", "customer_decides", "not_stated"]
    text: Text
    period: Period | None = None
    anchor: AnchorKey | None = None
    round: RoundTo | None = None
    at_most: bool = False
    then: Literal["erase", "anonymise"] = "erase"

    def __post_init__(self) -> None:
        if (self.kind == "fixed") != (self.period is not None):
            raise ValueError("a period belongs to a fixed rule, and a fixed rule has one")
        if (self.kind in ("fixed", "until")) != (self.anchor is not None):
            raise ValueError("an anchor belongs to a rule that is fixed or until, and such a rule has one")
        if self.period is None and (self.round or self.at_most):
            raise ValueError("without a period there is nothing to round or to bound")
        if self.period is not None and self.period.clock and self.round:
            raise ValueError("only a calendar period is rounded")

    def erasable_from(self, anchor: datetime) -> datetime:
        """Return the first instant at which data with this anchor time may go, by `periods.erasable_from`.

        Raises ValueError for a rule without a period, as `anchor_cutoff` does: no clock ends it.
        """
        return erasable_from(anchor, self._fixed_period(), self.round)

    def anchor_cutoff(self, now: datetime) -> datetime:
        """Return the instant before which every anchor is due at `now`, by `periods.anchor_cutoff`."""
        return anchor_cutoff(now, self._fixed_period(), self.round)

    def _fixed_period(self) -> Period:
        if self.period is None:
            raise ValueError(f"a rule of the kind {self.kind} has no period")
        return self.period


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """A processing activity (GDPR article 30): what data, what for, on which ground, how long, in which role.

    The controller of an activity is that of its services: for `general` the company in touch with the person.
    """

    key: Key
    title: Text
    role: Literal["controller", "processor"]
    services: tuple[ServiceKey, ...]
    data: tuple[Statement, ...]
    purposes: tuple[Text, ...]
    lawful_basis: tuple[Ground, ...]
    retention: Retention
    notes: tuple[Text, ...] = ()


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Who receives data, and in which role (GDPR article 4(9))."""

    key: Key
    role: Literal["internal", "separate_controller", "processor", "authority"]
    title: Text
    text: Text


class Safeguard(msgspec.Struct, frozen=True, kw_only=True):
    """One of the grounds on which data may leave the European Economic Area (GDPR chapter V)."""

    key: Key
    article: Article
    text: Text
    website: Website | None = None


class Transfers(msgspec.Struct, frozen=True, kw_only=True):
    """The rule for transfers out of the European Economic Area, its safeguards, and where which of them is needed.

    Countries by ISO 3166 code: of the Area itself (`area`), those that an adequacy decision covers whole (`adequate`), and
    those of which one covers some recipients only (`partly_adequate`). A country that is in none has no decision.
    """

    text: Text
    safeguards: tuple[Safeguard, ...]
    area: tuple[CountryCode, ...] = ()
    adequate: tuple[CountryCode, ...] = ()
    partly_adequate: tuple[CountryCode, ...] = ()

    def __post_init__(self) -> None:
        listed = (*self.area, *self.adequate, *self.partly_adequate)
        if len(set(listed)) != len(listed):
            raise ValueError("a country is listed once")


class Sharing(msgspec.Struct, frozen=True, kw_only=True):
    """Who receives data and where it may go."""

    statements: tuple[Statement, ...]
    recipients: tuple[Recipient, ...]
    transfers: Transfers


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """A right of the data subject and its article in the GDPR."""

    key: Key
    article: Article
    title: Text
    text: Text


class ProcessorTerms(msgspec.Struct, frozen=True, kw_only=True):
    """On which terms the vendor processes log data for its customers (GDPR articles 28(3) and 30(2)).

    Who processes follows from `services`, and which safeguards bind transfers from `sharing`.
    """

    version: Word
    text: Text
    controller: Text
    categories: tuple[Statement, ...]
    sub_processors: tuple[RecipientKey, ...]
    sub_processing: Text
    transfers: Text
    security: tuple[Statement, ...]
    assistance: tuple[Statement, ...]
    audits: Text
    end: tuple[Statement, ...]


class Housekeeping(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a plane of the service keeps for its own working, for a fixed period."""

    key: Key
    title: Text
    retention: Retention
    plane: Literal["controller", "processor"] = "controller"

    def __post_init__(self) -> None:
        if self.retention.kind != "fixed":
            raise ValueError("what the service keeps for itself has a fixed period")
