"""What a new password may be, for a person of an account."""

from functools import partial
from hashlib import sha1
from pathlib import Path

import pytest

from cloudpriv.bootstrap import Services
from cloudpriv.controller import new_passwords, people
from cloudpriv.controller.new_passwords import About, Weakness, weakness
from cloudpriv.platform.errors import BusyError, InvalidError
from cloudpriv.platform.passwords import Passwords
from tests.factories import make_account, transaction

BREACHED = "mein Haus am See"
cheap = partial(Passwords, time_cost=1, memory_kib=8, parallelism=1, concurrency=1)
KIM = About(("talk2m", "acme-water", "kim"), ("Kim Example", "kim.e", "Acme Water Ltd"))


@pytest.fixture
def passwords(tmp_path: Path) -> Passwords:
    """Passwords with a list of breached ones."""
    path = tmp_path / "breached"
    path.write_text(f"{sha1(BREACHED.encode(), usedforsecurity=False).hexdigest().upper()}:7\n")
    return cheap(breached=path)


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("1234567", "too_short"),
        ("x7#kq9zw", None),
        ("four words make one " * 51 + "twelve", "too_long"),
        ("four words make one" + "x7#kq9zw!" * 111, None),
        ("my name is Acme-Water 7", "has_name"),
        ("only on TALK2M today", "has_name"),
        ("letmein123", "guessable"),
        ("Example1985", "guessable"),
        ("acmewater", "guessable"),
        ("kim.e2026", "guessable"),
        ("eWON-Cosy-131", "guessable"),
        (BREACHED, "breached"),
        (BREACHED.lower(), None),
        ("four words make one", None),
    ],
)
def test_a_new_password_is_long_enough_hard_to_guess_and_never_was_public(
    passwords: Passwords, password: str, fault: Weakness | None
) -> None:
    assert weakness(passwords, password, KIM) == fault


def test_without_a_list_of_breached_passwords_none_is_looked_up() -> None:
    assert weakness(cheap(), BREACHED, KIM) is None


def test_while_the_list_cannot_be_read_no_password_is_taken(tmp_path: Path) -> None:
    with pytest.raises(BusyError):
        weakness(cheap(breached=tmp_path / "gone"), BREACHED, KIM)


def test_a_person_in_the_database_is_known_by_everything_that_others_know(services: Services, passwords: Passwords) -> None:
    account_id = make_account(services).row.account_id
    identity = {"username": "kim", "name": "Xuthos Zyx", "email": "qwyx.vrm@example.com", "company_name": "Brundtröm"}
    with transaction(services) as tx:
        person_id = people.add_person(tx, account_id, "owner", identity).row.person_id
        known = new_passwords.read_about(tx, account_id, person_id)
    for password in ("xuthoszyx", "qwyx.vrm", "Brundtröm2"):
        assert weakness(passwords, password, About(known.names)) is None
        with pytest.raises(InvalidError) as refused:
            new_passwords.check(passwords, password, known)
        assert [(each.pointer, each.detail) for each in refused.value.errors] == [
            ("/password", new_passwords.TOLD["guessable"])
        ]
        assert password not in str(refused.value)


def test_every_context_word_is_listed_in_the_documentation() -> None:
    told = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    assert [word for word in new_passwords.PRODUCT if f"`{word}`" not in told] == []
