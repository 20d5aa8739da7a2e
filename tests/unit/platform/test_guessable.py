"""What is guessable: what everybody uses, however it is dressed up, and what anybody knows of the person; nothing else."""

import string
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn import matching
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from cloudpriv.platform.guessable import is_guessable

WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "password")  # as Japanese keyboards write it
COMMONEST = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= 8]


def test_more_than_the_commonest_3000_passwords_that_are_long_enough_are_guessable() -> None:
    assert len(COMMONEST) == 11_611
    assert [word for word in COMMONEST[:3000] if not is_guessable(word)] == []
    assert [word for word in COMMONEST[3000::50] if not is_guessable(word)] == []


@pytest.mark.parametrize(
    "password",
    ["Password", "PASSWORD1", "p@ssw0rd123", "drowssap", WIDE, "1qaz2wsx", "qwertyuiop", "aaaaaaaa", "abcdefgh",
     "19840317", "passwordpassword", "x" * 1024, "ab" * 500, "password" * 128, " " * 8],
)  # fmt: skip
def test_what_people_make_of_a_common_password_is_guessable(password: str) -> None:
    assert is_guessable(password)


@pytest.mark.parametrize(
    "password",
    ["four words make one", "a long one, please", "correct horse", "  Grüße, ΑΒΓ und 🔑 ", "こんにちは世界のみんな"],
)
def test_several_words_are_not_guessable_in_any_script(password: str) -> None:
    assert not is_guessable(password)


@pytest.mark.parametrize("password", ["KimExample1", "kim.example", "hms12345", "Talk2M2026", "example-kim"])
def test_what_is_known_of_the_person_and_the_product_is_guessable(password: str) -> None:
    assert is_guessable(password, ["Kim Example", "HMS", "talk2m"])


def test_a_name_among_other_words_is_not_guessable() -> None:
    assert not is_guessable("deep water runs still", ["Acme Water AB"])


@given(st.text(string.ascii_letters + string.digits, min_size=12, max_size=12).filter(lambda s: len(set(s)) > 10))
def test_twelve_characters_drawn_by_chance_are_not_guessable(password: str) -> None:
    assert not is_guessable(password)


@given(st.text(min_size=0, max_size=1024), st.lists(st.text(max_size=100), max_size=5))
def test_any_text_at_all_is_judged(password: str, about: list[str]) -> None:
    assert is_guessable(password, about) in {True, False}


def test_nothing_of_a_person_is_left_behind_for_another_thread() -> None:
    with ThreadPoolExecutor(4) as pool:
        judged = pool.map(lambda known: is_guessable("zyxglorp", ["zyxglorp"] if known else []), [True, False] * 50)
        assert list(judged) == [True, False] * 50
    assert "user_inputs" not in matching.RANKED_DICTIONARIES
