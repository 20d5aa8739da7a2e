"""Whoever knows somebody's names may ask for codes in that one's name, and guess: it keeps nobody out, it floods nobody."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, update

from cloudpriv.bootstrap import Services
from cloudpriv.controller.holder_tables import OneTimeCode
from cloudpriv.controller.tables import Person
from cloudpriv.platform.ids import new_id
from cloudpriv.rights import codes
from cloudpriv.rights.code_forms import FORMS, LASTS, TRIES
from cloudpriv.rights.codes import PAUSE
from tests.codes import INSTANT, Whose, ask, code_of, deliver_all, fill_in, mailed, send, somebody, use
from tests.factories import NOW, transaction
from tests.purges import await_blocked


@pytest.fixture
def kim(services: Services) -> Whose:
    """A person, by account and id."""
    return somebody(services)


def rows_of(services: Services) -> list[OneTimeCode]:
    with transaction(services) as tx:
        return list(tx.session.scalars(select(OneTimeCode)))


def mailed_one(services: Services) -> UUID:
    """The one code that was mailed."""
    [found] = [row.code_id for row in rows_of(services) if row.mailed]
    return found


def test_a_mail_with_a_code_that_is_over_is_not_sent(services: Services, postman: Services, kim: Whose) -> None:
    first, second = send(services, kim), ask(services, known=True)
    use(services, kim, second, code_of(services, kim, second))
    assert deliver_all(postman) == ["dropped: over", "dropped: over"]
    assert first != second
    send(services, kim, now=NOW)
    assert deliver_all(postman, NOW + LASTS) == ["dropped: over"]


def test_a_mail_is_sent_whatever_was_typed_on_the_form_that_asked_for_it(
    services: Services, postman: Services, kim: Whose
) -> None:
    theirs = ask(services)
    for _ in range(TRIES):
        use(services, kim, theirs, "AAAA-AAAA")
    assert deliver_all(postman) == ["sent"]


def test_strangers_have_one_mail_sent_in_ten_minutes_and_a_mailed_code_is_always_good(
    services: Services, kim: Whose
) -> None:
    minute = timedelta(minutes=1)
    for number in range(60):
        form = ask(services, now=NOW + number * minute)
        with transaction(services) as tx:
            newest = tx.session.scalars(
                select(OneTimeCode).where(OneTimeCode.mailed).order_by(OneTimeCode.created_at.desc()).limit(1)
            ).one()
            good_for = newest.expires_at - (NOW + number * minute)
        assert good_for > LASTS - PAUSE, "long enough to be typed"
    assert mailed(services) == [NOW + number * PAUSE for number in range(6)]
    later = NOW + 59 * minute
    assert use(services, kim, form, code_of(services, kim, newest.code_id), later) is not None


def test_whoever_used_a_code_is_sent_another_at_once(services: Services, kim: Whose) -> None:
    first = ask(services)
    assert use(services, kim, first, code_of(services, kim, first)) is not None
    second = ask(services)
    assert use(services, kim, second, code_of(services, kim, second)) is not None


def test_a_browser_that_the_person_signed_in_from_gets_mails_whatever_strangers_ask_for(
    services: Services, kim: Whose
) -> None:
    ask(services)
    fill_in(services, kim, FORMS, TRIES)
    form = ask(services)
    mine = ask(services, known=True)
    assert len(mailed(services)) == 2
    assert use(services, kim, form, code_of(services, kim, mine)) is None
    assert use(services, kim, mine, code_of(services, kim, mine)) is not None


def test_asking_on_and_on_makes_no_more_rows_and_leaves_who_asks_a_form_that_can_be_typed_in(
    services: Services, kim: Whose
) -> None:
    ask(services)
    fill_in(services, kim, FORMS - 2, TRIES)
    fresh = fill_in(services, kim, 1) | {ask(services)}
    last = NOW + LASTS - INSTANT
    with transaction(services, now=last) as tx:
        tx.session.scalars(select(OneTimeCode).where(OneTimeCode.mailed)).one().expires_at = last + LASTS
    left = ask(services, now=last)
    assert len({left, *(ask(services, now=last) for _ in range(3))} - fresh) == 4, "as for nobody, no id comes twice"
    with transaction(services) as tx:
        rows = tx.session.scalars(select(OneTimeCode)).all()
    assert len(rows) == FORMS + 1
    [code_id] = [row.code_id for row in rows if row.mailed]
    later = last + LASTS - INSTANT
    assert use(services, kim, left, code_of(services, kim, code_id), later) is not None, "as long as a new one"


def test_an_id_that_nobody_was_given_uses_up_no_form_of_somebodys_own(services: Services, kim: Whose) -> None:
    ask(services)
    form = ask(services)
    for _ in range(TRIES):
        assert use(services, kim, new_id(), "AAAA-AAAA") is None
    assert {row.tries for row in rows_of(services)} == {0}
    assert use(services, kim, form, code_of(services, kim, mailed_one(services))) is not None


def test_who_asks_again_and_again_learns_nothing_of_who_exists(services: Services, kim: Whose) -> None:
    fill_in(services, kim, FORMS)
    theirs, nobodys = ([ask(services, username=name) for _ in range(5)] for name in ("kim", "nobody"))
    assert (len(set(theirs)), len(set(nobodys))) == (5, 5)


def test_whoever_asks_meanwhile_is_in_nobodys_way(services: Services, kim: Whose, owner_engine: Engine) -> None:
    ask(services)
    [form, *_] = fill_in(services, kim, FORMS)
    code = code_of(services, kim, mailed_one(services))

    def at_once() -> None:
        for _ in range(3):
            ask(services)

    with ThreadPoolExecutor(1) as pool:
        with transaction(services) as tx:
            assert codes.use(tx, kim[0], form, code, person_id=kim[1]) is not None
            asking = pool.submit(at_once)
            await_blocked(owner_engine, asking.done)
            restriction = update(Person).where(Person.person_id == kim[1]).values(restricted_at=NOW)
            tx.session.execute(restriction)  # as what was asked for by the code may
        asking.result(60)


def test_all_tries_at_one_persons_codes_are_bounded(services: Services, kim: Whose) -> None:
    ask(services)
    spent = fill_in(services, kim, FORMS - 1, TRIES)
    last = ask(services)
    for _ in range(TRIES):
        use(services, kim, ask(services), "AAAA-AAAA")
    assert {row.tries for row in rows_of(services) if row.code_id in spent | {last}} == {TRIES}
    assert use(services, kim, ask(services), code_of(services, kim, mailed_one(services))) is None
    with transaction(services) as tx:
        assert len(tx.session.scalars(select(OneTimeCode.code_id)).all()) == FORMS + 1
        assert tx.session.scalars(select(OneTimeCode.expires_at).distinct()).one() == NOW + LASTS
    assert FORMS * TRIES == 1000, "as docs/adr/0029 reckons"
    assert ask(services, now=NOW + LASTS) not in spent, "a quarter of an hour later anybody may try again"


def test_asking_at_once_sends_one(services: Services, kim: Whose) -> None:
    together = Barrier(2)

    def at_once(_: int) -> None:
        together.wait(60)
        for _each in range(5):
            ask(services)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(at_once, range(2)))
    assert mailed(services) == [NOW]
