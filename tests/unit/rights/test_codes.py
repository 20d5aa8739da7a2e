"""One-time codes: to the registered address, for one use, a few tries and a short time; they stand nowhere."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.controller.holder_tables import OneTimeCode
from cloudpriv.controller.tables import Account
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.rights import codes
from cloudpriv.rights.code_forms import FORMS, LASTS, TRIES
from cloudpriv.rights.code_mails import ALPHABET, written
from cloudpriv.rights.codes import PAUSE, UsedCode
from tests.codes import INSTANT, Whose, ask, code_of, deliver_all, fill_in, send, somebody, use
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox
from tests.stack import every_row


@pytest.fixture
def kim(services: Services) -> Whose:
    """A person, by account and id."""
    return somebody(services)


def test_the_code_in_the_mail_is_right_once(services: Services, postman: Services, mailbox: Mailbox, kim: Whose) -> None:
    with transaction(services) as tx:
        code_id = codes.send(tx, *kim, "identity").code_id
    assert deliver_all(postman) == ["sent"]
    assert mailbox.recipients == ["kim@example.com"]
    found = re.search(r"^    ([A-Z2-9]{4}-[A-Z2-9]{4})$", mailbox.texts()[0], re.MULTILINE)
    assert found is not None
    assert use(services, kim, code_id, found[1]) == UsedCode(kim[1], None)
    assert use(services, kim, code_id, found[1]) is None


@pytest.mark.parametrize("form", ["{0}", " {0} ", "{1}", "{2}", "{3}"])
def test_a_code_may_be_typed_as_people_type(services: Services, kim: Whose, form: str) -> None:
    code_id = send(services, kim)
    code = code_of(services, kim, code_id)
    forms = (code, code.lower(), code.replace("-", ""), code.replace("-", " - "))
    assert use(services, kim, code_id, form.format(*forms)) is not None


def test_the_right_code_after_four_wrong_tries_is_right_and_after_five_is_not(services: Services, kim: Whose) -> None:
    first, second = send(services, kim), None
    for _ in range(TRIES - 1):
        assert use(services, kim, first, "AAAA-AAAA") is None
    assert use(services, kim, first, code_of(services, kim, first)) is not None
    second = send(services, kim)
    for _ in range(TRIES):
        assert use(services, kim, second, "AAAA-AAAA") is None
    assert use(services, kim, second, code_of(services, kim, second)) is None


def test_a_code_is_good_for_a_quarter_of_an_hour(services: Services, kim: Whose) -> None:
    code_id = send(services, kim)
    code = code_of(services, kim, code_id)
    assert use(services, kim, code_id, code, NOW + LASTS) is None
    assert use(services, kim, code_id, code, NOW + LASTS - INSTANT) is not None


def test_a_code_is_good_for_its_own_purpose_person_and_id_alone(services: Services, kim: Whose) -> None:
    other = make_person(services, make_account(services).row.account_id).row
    code_id, foreign = send(services, kim), send(services, (other.account_id, other.person_id))
    code = code_of(services, kim, code_id)
    assert use(services, kim, code_id, code, purpose="password") is None
    assert use(services, kim, foreign, code) is None
    assert use(services, (other.account_id, other.person_id), foreign, code) is None
    assert use(services, (other.account_id, other.person_id), code_id, code) is None
    assert use(services, kim, code_id, code) is not None


@pytest.mark.parametrize("which", [0, 1], ids=["the one before", "the last one"])
def test_asking_ends_no_code_and_whichever_was_mailed_fits(services: Services, kim: Whose, which: int) -> None:
    later = NOW + PAUSE
    of_password, mailed_ones = send(services, kim, "password", later), [ask(services), ask(services, now=later)]
    form, typed = ask(services, now=later), [code_of(services, kim, each) for each in mailed_ones]
    assert use(services, kim, form, typed[which], later) is not None
    for each in mailed_ones:
        assert use(services, kim, each, typed[1 - which], later) is None, "one that was used ends the others"
    assert use(services, kim, of_password, code_of(services, kim, of_password), later, "password") is not None


def test_wrong_tries_by_others_end_no_code(services: Services, kim: Whose) -> None:
    theirs = ask(services)
    for _ in range(TRIES):
        assert use(services, kim, theirs, "AAAA-AAAA") is None
    assert use(services, kim, theirs, code_of(services, kim, theirs)) is None
    assert use(services, kim, ask(services), code_of(services, kim, theirs)) is not None


def test_what_was_asked_for_without_a_mail_has_no_code(services: Services, kim: Whose) -> None:
    ask(services)
    unmailed = ask(services)
    assert use(services, kim, unmailed, code_of(services, kim, unmailed)) is None


def test_a_code_for_one_request_fits_no_other_and_no_page(services: Services, kim: Whose) -> None:
    first, second = new_id(), new_id()
    with transaction(services) as tx:
        sent = {each: codes.send(tx, *kim, "identity", each).code_id for each in (first, second)}
    code, page = code_of(services, kim, sent[first]), ask(services)
    assert use(services, kim, page, code) is None
    with transaction(services) as tx:
        assert codes.use(tx, kim[0], sent[second], code, subject_id=second) is None
        assert codes.use(tx, kim[0], sent[first], code) is None
        assert codes.use(tx, kim[0], sent[first], code, subject_id=first) is not None


@pytest.mark.parametrize("own_form", [False, True], ids=["on one form", "on two"])
def test_of_two_at_once_one_is_right(services: Services, kim: Whose, own_form: bool) -> None:
    code_id = ask(services)
    forms = (code_id, ask(services) if own_form else code_id)
    code, together = code_of(services, kim, code_id), Barrier(2)

    def at_once(form: UUID) -> UsedCode | None:
        with transaction(services) as tx:
            together.wait(60)
            return codes.use(tx, kim[0], form, code)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(at_once, forms))
    assert sorted(found is not None for found in results) == [False, True]


def test_wrong_tries_at_once_all_count(services: Services, kim: Whose) -> None:
    code_id, together = send(services, kim), Barrier(4)

    def at_once(_: int) -> None:
        with transaction(services) as tx:
            together.wait(60)
            codes.use(tx, kim[0], code_id, "AAAA-AAAA")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(at_once, range(4)))
    with transaction(services) as tx:
        assert tx.session.scalars(select(OneTimeCode.tries)).one() == 4


def test_the_code_stands_nowhere_in_the_database(
    services: Services, postman: Services, kim: Whose, owner_engine: Engine
) -> None:
    code = code_of(services, kim, send(services, kim))
    deliver_all(postman)
    stored = str(every_row(owner_engine)).upper()
    assert code not in stored
    assert code.replace("-", "") not in stored


def test_codes_differ_and_are_of_letters_that_nobody_mistakes(services: Services, kim: Whose) -> None:
    with transaction(services) as tx:
        key = accounts.find_account(tx, kim[0]).key
        found = {written(key, new_id()) for _ in range(2000)}
    assert len(found) == 2000
    letters = set("".join(found)) - {"-"}
    assert letters == set(ALPHABET)
    assert not letters & set("IO01")


def statements(services: Services, act: Callable[[], object]) -> list[str]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        sent.append("the mail" if "INTO outbox" in statement else statement)  # what is NULL is left out of it

    event.listen(services.controller.engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        event.remove(services.controller.engine, "before_cursor_execute", note)
    return sent


def test_asking_does_the_same_whether_somebody_is_there_or_not(services: Services, kim: Whose) -> None:
    known = statements(services, lambda: ask(services, "acme-water", "kim"))
    assert statements(services, lambda: ask(services, "acme-water", "nobody")) == known
    assert statements(services, lambda: ask(services, "nothing", "kim")) == known
    assert statements(services, lambda: ask(services, "acme-water", "kim")) == known, "nor whether a mail was sent before"
    fill_in(services, kim, FORMS)
    assert statements(services, lambda: ask(services, "acme-water", "kim")) == known, "nor how often it was asked for"
    assert len(known) >= 6


def test_typing_a_wrong_code_does_the_same_whether_there_is_one_or_not(services: Services, kim: Whose) -> None:
    code_id = send(services, kim)
    known = statements(services, lambda: use(services, kim, code_id, "AAAA-AAAA"))
    assert statements(services, lambda: use(services, kim, new_id(), "AAAA-AAAA")) == known
    assert statements(services, lambda: use(services, (new_id(), kim[1]), new_id(), "AAAA-AAAA")) == known
    assert len(known) >= 2


def test_nobody_gets_a_mail_who_is_not_there(services: Services, postman: Services, mailbox: Mailbox, kim: Whose) -> None:
    ids = {ask(services, "nothing", "kim"), ask(services, "acme-water", "nobody")}
    assert {each.version for each in ids} == {7}
    assert deliver_all(postman) == ["dropped: nobody", "dropped: nobody"]
    assert mailbox.recipients == []
    for code_id in ids:
        assert use(services, kim, code_id, "AAAA-AAAA") is None


def test_whoever_asks_by_names_gets_what_is_sent_to_the_person(services: Services, kim: Whose) -> None:
    code_id = ask(services, " ACME-Water ", "Kim")
    assert use(services, kim, code_id, code_of(services, kim, code_id)) == UsedCode(kim[1], None)


def test_a_code_is_sent_to_people_of_restricted_and_closing_accounts_too(services: Services, kim: Whose) -> None:
    for status in ("restricted", "closing"):
        with transaction(services) as tx:
            tx.session.get_one(Account, kim[0]).status = status
        code_id = ask(services)
        assert use(services, kim, code_id, code_of(services, kim, code_id)) is not None


def test_nobody_is_sent_one_who_is_gone(services: Services, kim: Whose) -> None:
    with pytest.raises(NotFoundError):
        send(services, (kim[0], new_id()))
    with pytest.raises(NotFoundError):
        send(services, (new_id(), kim[1]))


def test_asking_and_every_try_are_audited(services: Services, kim: Whose, owner_engine: Engine) -> None:
    code_id = ask(services)
    use(services, kim, code_id, "AAAA-AAAA")
    use(services, kim, code_id, code_of(services, kim, code_id))
    use(services, kim, new_id(), "AAAA-AAAA")
    with owner_engine.connect() as connection:
        query = text("SELECT action, subject_id FROM audit_events WHERE action LIKE 'code.%' ORDER BY event_id")
        found = [tuple(row) for row in connection.execute(query)]
    assert found == [("code.send", kim[1]), ("code.reject", kim[1]), ("code.use", kim[1]), ("code.reject", None)]
