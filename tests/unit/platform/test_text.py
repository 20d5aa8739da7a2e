"""Normal forms: what a person would call the same name is the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.platform.text import normalised


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme", "ACME"),
        ("acme", "\uff41\uff43\uff4d\uff45"),
        ("caf\u00e9", "CAFE\u0301"),
        ("straße", "STRASSE"),
        ("ΐ", "\u0399\u0308\u0301"),
        ("ﬁsh", "FISH"),
        (" acme\u2003", "acme"),
        ("Ⅷ", "viii"),
    ],
)
def test_two_ways_to_write_a_name_are_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), [("acme", "acne"), ("acme-1", "acme1"), ("a cme", "acme"), ("\u0430cme", "acme")])
def test_different_names_stay_different(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text())
def test_a_normal_form_is_its_own_and_that_of_every_composition(name: str) -> None:
    normal = normalised(name)
    assert normalised(normal) == normal
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert normalised(unicodedata.normalize(form, name)) == normal
