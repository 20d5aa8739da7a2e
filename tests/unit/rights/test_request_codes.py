"""A code for who made a request by letter: to the right address, with words to judge it by, and for that request alone."""

from uuid import UUID

import pytest

from cloudpriv import mail_templates
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.errors import ConflictError, ForbiddenError, NotFoundError
from cloudpriv.rights import code_mails, handling, letters, request_codes, requests
from cloudpriv.rights.request_codes import RequestCode
from cloudpriv.rights.requests import KnownRequest
from tests.codes import deliver_all
from tests.factories import make_account, make_person, transaction
from tests.mailbox import Mailbox
from tests.requests import owner, read, receive, state


def letter(services: Services, type_: str = "restriction", **about: object) -> KnownRequest:
    """A request by letter about a Swede whose address is registered."""
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id, email="kim@example.com", locale="sv-SE").row.person_id
    return receive(
        services,
        account_id,
        type_,
        identity=None,
        channel="letter",
        **{"person_id": person_id, **about},  # type: ignore[arg-type]  # its own options
    )


def send(services: Services, known: KnownRequest, person_id: UUID | None = None) -> RequestCode:
    with transaction(services) as tx:
        return request_codes.send_code(tx, known.row.request_id, person_id)


def verify(services: Services, known: KnownRequest, code: RequestCode) -> KnownRequest | None:
    with transaction(services) as tx:
        typed = code_mails.written(accounts.find_account(tx, known.row.account_id).key, code.sent.code_id)
        return request_codes.verify_by_code(tx, services.policy, known.row.request_id, code.sent.code_id, typed)


def test_the_mail_says_what_was_asked_and_brings_the_code(services: Services, postman: Services, mailbox: Mailbox) -> None:
    known = letter(services)
    deliver_all(postman)
    code = send(services, known)
    assert deliver_all(postman) == ["sent"]
    assert mailbox.recipients[-1] == "kim@example.com"
    body, words = mailbox.texts()[-1], mail_templates.phrases(letters.WORDS, "types")["restriction"]["sv"]
    with transaction(services) as tx:
        assert code_mails.written(accounts.find_account(tx, known.row.account_id).key, code.sent.code_id) in body
    assert (words in body, str(known.row.request_id) in body) == (True, True)


def test_no_code_is_mailed_for_what_has_ended_meanwhile(services: Services, postman: Services, mailbox: Mailbox) -> None:
    known = letter(services)
    deliver_all(postman)
    send(services, known)
    with transaction(services) as tx:
        handling.refuse(tx, services.policy, known.row.request_id, "identity_not_verified", "Nobody answered.")
    assert deliver_all(postman) == ["dropped: not_so_any_more", "sent"]


def test_the_texts_of_the_mail_say_the_same_in_every_language() -> None:
    texts = mail_templates.texts(code_mails.OF_REQUEST).values()
    assert len({frozenset(each.body.get_identifiers()) for each in texts}) == 1
    assert all(each.subject.is_valid() and each.body.is_valid() for each in texts)
    assert [line for each in texts for line in each.body.template.splitlines() if len(line) > 80] == []


def test_the_code_identifies_who_it_was_mailed_to(services: Services) -> None:
    known = letter(services)
    done = verify(services, known, send(services, known))
    assert done is not None
    assert (done.row.status, done.row.identity_method) == ("completed", "code")
    assert done.row.identity_verified_by == f"owner:{known.row.person_id}"


def test_an_owner_who_is_none_any_more_identifies_no_account(services: Services) -> None:
    known = letter(services, "access", person_id=None)
    person = make_person(services, known.row.account_id)
    code = send(services, known, person.row.person_id)
    with transaction(services) as tx:
        tx.session.merge(person.row).role = "member"
    assert verify(services, known, code) is None
    assert state(services, known) == ["received"]


def test_what_fails_to_be_carried_out_uses_up_no_code(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ConflictError

    known = letter(services)
    code = send(services, known)
    with monkeypatch.context() as faulty:
        faulty.setattr(handling, "verify", fail)
        with pytest.raises(ConflictError):
            verify(services, known, code)
    assert verify(services, known, code) is not None


def test_only_staff_asks_for_codes_and_only_while_nobody_is_identified(services: Services) -> None:
    known = letter(services)
    holder = owner(known.row.account_id, known.row.person_id or known.row.account_id)
    with transaction(services, holder) as tx, pytest.raises(ForbiddenError):
        request_codes.send_code(tx, known.row.request_id)
    with transaction(services, holder) as tx, pytest.raises(ForbiddenError):
        request_codes.verify_by_code(tx, services.policy, known.row.request_id, known.row.request_id, "AAAA-AAAA")
    stranger = make_person(services, make_account(services).row.account_id)
    with pytest.raises(NotFoundError):
        send(services, known, stranger.row.person_id)
    with transaction(services) as tx:
        requests.withdraw(tx, known.row.request_id)
    with pytest.raises(ConflictError):
        send(services, known)
    assert read(services, known).row.status == "withdrawn"
