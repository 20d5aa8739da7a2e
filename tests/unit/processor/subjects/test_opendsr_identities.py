"""Which names and texts are about an identity, and which only look like it."""

import hashlib
from typing import Final

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.platform.ids import new_id
from cloudpriv.platform.text import normalised
from cloudpriv.processor.storage.columns import POINTS
from cloudpriv.processor.subjects import identities
from cloudpriv.processor.subjects.identities import Identity, Subject
from tests.factories import NOW

KIM: Final = "kim@customer.example"
SOME_DEVICE: Final = new_id()
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


def is_found(text: str | None, *known: Identity) -> bool:
    """Whether a point with this text is found."""
    row = {"tag": 1, "time": NOW, "seq": 1, "s": text}
    subject = Subject(frozenset(), frozenset(), identities._names(known, identities.PEOPLE))
    return len(subject.points(SOME_DEVICE, pa.Table.from_pylist([row], schema=POINTS))) == 1


def raw(value: str, kind: str = "email") -> Identity:
    """An identity that is given in full."""
    return Identity(kind, "raw", value)


@pytest.mark.parametrize(
    "text",
    [KIM, f"  {KIM.upper()} ", f"by {KIM}", f"{KIM}: stopped", f"<{KIM}>", f"({KIM})", f"ack by {KIM}.", f"a,{KIM},b",
     f"mailto:{KIM}?x", f"user={KIM};", f"one {KIM}\ntwo"],
)  # fmt: skip
def test_an_identity_is_found_as_a_word_of_its_own(text: str) -> None:
    assert is_found(text, raw(KIM))


@pytest.mark.parametrize(
    "text",
    [None, "", "kim", "customer.example", f"joa{KIM}", f"x.{KIM}", f"x-{KIM}", f"x+{KIM}", f"{KIM}.evil", f"{KIM}-2",
     f"{KIM}s", f"1{KIM}", f"ö{KIM}", f"{KIM}@other.example", KIM.replace("@", " @")],
)  # fmt: skip
def test_an_identity_is_not_found_as_part_of_another(text: str | None) -> None:
    assert not is_found(text, raw(KIM))


def test_a_short_identity_is_found_only_where_it_stands_alone() -> None:
    assert is_found("Kim", raw("kim", "username"))
    assert not is_found("by kim", raw("kim", "username"))
    assert is_found("by kim-l", raw("kim-l", "username"))


def test_a_phone_number_is_found_as_it_is_written() -> None:
    assert is_found("tel:+46 70 123", raw("+46 70 123", "phone"))
    assert not is_found("tel:+46 70 1234", raw("+46 70 123", "phone"))


@given(TEXTS.filter(normalised), st.sampled_from(identities.FORMATS))
def test_every_identity_is_found_where_it_stands_alone(value: str, how: str) -> None:
    given_as = value if how == "raw" else identities.HASHES[how](value.encode())
    assert is_found(value, Identity("email", how, given_as))


@given(TEXTS.filter(lambda text: len(normalised(text)) >= identities.SHORTEST_WORD))
def test_every_identity_that_is_long_enough_is_found_between_blanks(value: str) -> None:
    assert is_found(f"before {value} after", raw(value))


@given(TEXTS, TEXTS.filter(normalised))
def test_what_has_nothing_of_an_identity_is_never_found(text: str, value: str) -> None:
    if normalised(value) not in normalised(text):
        assert not is_found(text, raw(value))
        assert not is_found(text, Identity("email", "sha256", hashlib.sha256(value.encode()).hexdigest()))


def test_identities_of_things_are_in_no_text() -> None:
    for kind in identities.DEVICES | identities.TAGS:
        assert not is_found("pump-1", raw("pump-1", kind))


@pytest.mark.parametrize(
    "wrong", [raw("  "), Identity("email", "sha256", KIM), Identity("email", "md5", "a" * 40), Identity("email", "sha1", "")]
)
def test_what_can_be_compared_with_nothing_is_refused(wrong: Identity) -> None:
    with pytest.raises(ValueError, match="must"):
        identities.check(wrong)


def test_no_identity_shows_itself() -> None:
    assert KIM not in repr(raw(KIM))
