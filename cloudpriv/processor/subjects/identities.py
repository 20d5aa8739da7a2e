"""What an account's log data holds about an identity that a data subject's request names (OpenDSR 2.0, 5).

A device or a tag is about an identity when its name is the identity; a point, when its text is, or has it in it as a word of
its own. Compared are normal forms (NFKC, case-folded, trimmed). A hashed identity is compared with the hashes of all names
and texts, so it is found only where it stands alone. Numbers, units and qualities are not looked at.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from cloudpriv.platform.db import Tx
from cloudpriv.platform.text import normalised
from cloudpriv.processor import devices
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.tables import DEVICE, TAG, LogDevice, LogTag

DEVICES: Final = frozenset({"device_name", "serial"})  # what names a device
TAGS: Final = frozenset({"tag"})
PEOPLE: Final = frozenset({"controller_customer_id", "email", "phone", "username"})  # may be a name or in a text
TYPES: Final = tuple(sorted(DEVICES | TAGS | PEOPLE))
HASHES: Final[Mapping[str, Callable[[bytes], str]]] = {
    "sha1": lambda plain: hashlib.sha1(plain, usedforsecurity=False).hexdigest(),
    "md5": lambda plain: hashlib.md5(plain, usedforsecurity=False).hexdigest(),
    "sha256": lambda plain: hashlib.sha256(plain).hexdigest(),
}
HEX_DIGITS: Final = {"sha1": 40, "md5": 32, "sha256": 64}
FORMATS: Final = ("raw", *HASHES)
SHORTEST_WORD: Final = 5  # characters; shorter ones stand in too many texts that are about something else


@dataclass(frozen=True, repr=False)
class Identity:
    """Who or what a request is about, as the controller knows it: personal data, so it has no repr."""

    type: str
    format: str
    value: str


@dataclass(frozen=True, repr=False)
class Subject:
    """What an account has of some identities: whole devices, whole tags, and how the texts about them are known."""

    device_ids: frozenset[UUID]
    tag_ids: frozenset[int]
    people: "_Names"

    def points(self, device_id: UUID, points: pa.Table) -> pa.Table:
        """Those of a device's points that are about the subject, in the same order."""
        if device_id in self.device_ids:
            return points
        wanted = pc.is_in(points["tag"], pa.array(sorted(self.tag_ids), pa.int32()))
        return points.filter(pc.or_(wanted, self.texts(points)))

    def texts(self, points: pa.Table) -> pa.ChunkedArray:
        """Which of the points have a text about the subject: one truth value each."""
        about = [text for text in pc.unique(points["s"]).to_pylist() if text is not None and self.people.in_text(text)]
        return pc.is_in(points["s"], pa.array(about, pa.string()))

    @property
    def has_people(self) -> bool:
        """Whether texts have to be looked at, in all points of the account."""
        return not self.people.is_empty


def check(identity: Identity) -> None:
    """Raises ValueError, with a text that can be shown, for what can be compared with nothing."""
    if identity.format != "raw":
        if re.fullmatch(f"[0-9A-Fa-f]{{{HEX_DIGITS[identity.format]}}}", identity.value) is None:
            raise ValueError(f"must be {HEX_DIGITS[identity.format]} hexadecimal digits")
    elif not normalised(identity.value):
        raise ValueError("must not be blank")


def find_subject(tx: Tx, account: OpenedLogAccount, identities: Sequence[Identity]) -> Subject:
    """What the account has of these identities by name, and how to know texts about them. Nothing is read of points."""
    of_devices, of_tags = _names(identities, DEVICES | PEOPLE), _names(identities, TAGS | PEOPLE)
    named = (device.device_id for device in devices.list_devices(tx, account) if of_devices.has(device.name))
    tagged = (tag.tag_id for tag in devices.list_tags(tx, account) if of_tags.has(tag.name))
    return Subject(frozenset(named), frozenset(tagged), _names(identities, PEOPLE))


def forget_names(tx: Tx, account: OpenedLogAccount, subject: Subject) -> None:
    """Have the devices and tags of a subject be called by their ids, instead of what they are called: they may send on."""
    key = account.key
    of_devices = select(LogDevice).where(LogDevice.account_id == key.account_id, LogDevice.device_id.in_(subject.device_ids))
    for device in tx.session.scalars(of_devices.with_for_update(key_share=True)):
        name = f"erased {device.device_id}"
        device.identity = key.seal(device.device_id, DEVICE, {"name": name})
        device.name_index = devices.device_index(key, name)
    of_tags = select(LogTag).where(LogTag.account_id == key.account_id, LogTag.tag_id.in_(subject.tag_ids))
    for tag in tx.session.scalars(of_tags.with_for_update(key_share=True)):
        named = {**key.open(tag.device_id, TAG, tag.identity), "name": f"erased {tag.tag_id}"}
        tag.identity = key.seal(tag.device_id, TAG, named)
        tag.name_index = devices.tag_index(key, tag.device_id, named["name"])


class _Names:
    """Identities, ready to be compared with many texts."""

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._raw = frozenset(normalised(each.value) for each in identities if each.format == "raw")
        self._hashed = {kind: frozenset(each.value.lower() for each in identities if each.format == kind) for kind in HASHES}
        self._words = _as_words(sorted(name for name in self._raw if len(name) >= SHORTEST_WORD))
        self.is_empty = not identities

    def has(self, text: str) -> bool:
        """Whether the text is one of the identities, whatever its case and the blanks around it."""
        plain = normalised(text)
        return plain in self._raw or any(_hashes_to(known, kind, (plain, text)) for kind, known in self._hashed.items())

    def in_text(self, text: str) -> bool:
        """Whether the text is one of the identities, or has one in it that was given in full."""
        return self.has(text) or (self._words is not None and self._words.search(normalised(text)) is not None)


def _names(identities: Sequence[Identity], types: frozenset[str]) -> _Names:
    return _Names([each for each in identities if each.type in types])


def _as_words(names: Sequence[str]) -> re.Pattern[str] | None:
    """Finds any of the names where it is no part of a longer one: kim@a.example neither in joakim@a.example nor in x.kim@….

    So neither beside a letter or digit, nor joined to one by what addresses and user names are joined by.
    """
    if not names:
        return None
    either = "|".join(re.escape(name) for name in names)
    return re.compile(rf"(?<![\w@])(?<!\w[.+-])(?:{either})(?![\w@]|[.+-]\w)")


def _hashes_to(known: frozenset[str], kind: str, texts: Iterator[str] | tuple[str, ...]) -> bool:
    return bool(known) and any(HASHES[kind](text.encode()) in known for text in texts)
