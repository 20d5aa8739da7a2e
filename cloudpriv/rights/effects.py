"""What a granted request does: rectification, erasure, restriction, objection and the withdrawal of consents, carried out.

What is done here goes on in the transaction of the request, so that neither stands without the other. Recipients of the data
are told of it (GDPR Article 19). Who asks has been identified; whoever objects to the processing waits for a decision.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select

from cloudpriv.controller import accounts, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.people import KnownPerson
from cloudpriv.controller.tables import Person
from cloudpriv.platform.classify import Category
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.policy.register import Policy
from cloudpriv.rights import addresses, closure, codes, erasure, restriction, telling
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.details import open_details
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.restriction import Cause
from cloudpriv.rights.tables import SubjectRequest

# Outcomes, as letters and pages word them.
DONE: Final = "done"  # by staff itself
RECTIFIED: Final = "rectified"
ERASED: Final = "erased"
HELD: Final = "erased_but_held"  # the rest goes when a legal hold ends
RESTRICTED: Final = "restricted"
UPHELD: Final = "objection_upheld"
WITHDRAWN: Final = "consent_withdrawn"

OF_PERSON: Final = frozenset(people.EMPTY)  # nobody makes themselves an owner by rectification
OF_ACCOUNT: Final = frozenset({"account_name", "customer"})
# As the policy has it: names of accounts and users are account data, the rest identifies.
ACCOUNT_DATA: Final = frozenset({"username", "account_name"})


def carry_out(tx: Tx, policy: Policy, request: SubjectRequest, details: Mapping[str, Any]) -> str | None:
    """Do what a request asks for whose asker is identified: its outcome, or None when it goes on.

    It goes on where staff has to decide, and while the cooling-off of an account's erasure lasts. Staff decides about
    objections, about rectifications that name no `changes`, about the restriction of an account that is closing, and about
    the erasure of what staff itself restricted, or of an account in which somebody else than the asker restricted their own
    data, which they may need for legal claims (Article 18(1)). Raises what the services do that it calls: InvalidError for
    changes of what is not one's own to change, ConflictError, NotFoundError.
    """
    waits = {"erasure": _is_needed_by_others, "restriction": _is_closing}.get(request.type)
    if waits is not None and waits(tx, request):
        return None
    return WORK[request.type](tx, policy, request, details)


def uphold(tx: Tx, policy: Policy, request: SubjectRequest, details: Mapping[str, Any]) -> str | None:
    """Do what staff granted that had waited for it: its outcome, or None when it goes on.

    The processing that somebody objects to stops (GDPR Article 21(1)), so what the objection is about is restricted. Raises
    AccountClosingError for the restriction of an account that is closing: that is undone before.
    """
    if request.type != "objection":
        return WORK[request.type](tx, policy, request, details) or (None if request.type == "erasure" else DONE)
    _restrict_scope(tx, request)
    _end_objection(tx, request)
    return UPHELD


def let_go(tx: Tx, request: SubjectRequest, details: Mapping[str, Any], *, at_once: bool) -> None:
    """Undo what an objection that has ended had restricted itself while it was looked into (Article 18(1)(d)).

    Not before its asker was told (Article 18(3)), unless the asker wants it `at_once`. It goes on for another that is looked
    into and asks for the same, and for other causes.
    """
    if not details.get("restrict") or request.identity_method is None:
        return
    if at_once:
        _end_objection(tx, request)
    elif _holds_alone(tx, request):
        restriction.override(tx, request.account_id, request.person_id)


def rectify_person(tx: Tx, account_id: UUID, person_id: UUID, version: int, changes: Mapping[str, Any], *,
                   request_id: UUID | None = None, restricted: bool = False) -> KnownPerson:  # fmt: skip
    """Change a person as `people.change_person` does, and have the recipients told who were given what was changed.

    Where the address for mail is another one then, it and the former one are told, too, and codes mailed before end.
    """
    account = accounts.lock_account(tx, account_id, restricted=restricted)
    before = people.open_identity(account.key, people.find_person(tx, account_id, person_id))
    changed = people.change_person(tx, account_id, person_id, version, changes, restricted=restricted)
    addresses.tell_change(tx, account, person_id, before, changed.identity)
    if before["email"] != changed.identity["email"]:
        codes.end_all(tx, account_id, person_id)
    concerned = _categories(changes.keys() - {"role"})
    telling.notify(tx, account_id, "rectification", concerned, person_id=person_id, request_id=request_id)
    return changed


def rectify_account(tx: Tx, account_id: UUID, version: int, changes: Mapping[str, Any], *,
                    request_id: UUID | None = None, restricted: bool = False) -> OpenedAccount:  # fmt: skip
    """Change an account as `accounts.change_account` does, and have the recipients told."""
    changed = accounts.change_account(tx, account_id, version, changes, restricted=restricted)
    telling.notify(tx, account_id, "rectification", _categories(changes.keys()), request_id=request_id)
    return changed


def _rectify(tx: Tx, _: Policy, request: SubjectRequest, details: Mapping[str, Any]) -> str | None:
    """Whether or not it is restricted: who contests the accuracy of data asks for both (Article 18(1)(a))."""
    changes = details.get("changes")
    if not changes:  # said in words: for staff to read
        return None
    account_id, request_id = request.account_id, request.request_id
    if request.person_id is None:
        _check_members(changes, OF_ACCOUNT)
        version = accounts.find_account(tx, account_id, lock=True).row.version
        rectify_account(tx, account_id, version, changes, request_id=request_id, restricted=True)
    else:
        _check_members(changes, OF_PERSON)
        version = people.find_person(tx, account_id, request.person_id).version
        rectify_person(tx, account_id, request.person_id, version, changes, request_id=request_id, restricted=True)
    return RECTIFIED


def _erase(tx: Tx, policy: Policy, request: SubjectRequest, _: Mapping[str, Any]) -> str | None:
    """Whether or not it is restricted: whoever asks for it wants neither the restriction nor the data any more."""
    if request.scope == "account":
        if not _is_closing(tx, request):  # else its purge answers
            closure.close(tx, policy, request.account_id, request)
        return None
    if request.person_id is None:  # the person was erased since
        return ERASED
    account_id, person_id = request.account_id, request.person_id
    accounts.find_account(tx, account_id, lock=True)
    version = people.find_person(tx, account_id, person_id).version
    whole = erasure.erase_person(tx, account_id, person_id, version, request_id=request.request_id, restricted=True)
    return ERASED if whole else HELD


def _restrict(tx: Tx, _: Policy, request: SubjectRequest, __: Mapping[str, Any]) -> str:
    _restrict_scope(tx, request)
    return RESTRICTED


def _object(tx: Tx, _: Policy, request: SubjectRequest, details: Mapping[str, Any]) -> None:
    """Have it wait for a decision; until then what it is about is restricted, if that was asked for (Article 18(1)(d)).

    Not an account that is closing: nothing of it is used meanwhile.
    """
    if details.get("restrict") and not _is_closing(tx, request):
        _restrict_scope(tx, request, "objection")


def _withdraw_consents(tx: Tx, policy: Policy, request: SubjectRequest, _: Mapping[str, Any]) -> str:
    """Of the person, or of everybody in the account whose request it is."""
    found = [request.person_id] if request.person_id else _people(tx, request.account_id)
    for person_id in found:
        consents.withdraw_all(tx, policy, request.account_id, person_id)
    return WITHDRAWN


def _restrict_scope(tx: Tx, request: SubjectRequest, cause: Cause = "request") -> None:
    account_id, request_id = request.account_id, request.request_id
    if request.scope == "account":
        restriction.restrict_account(tx, account_id, request_id=request_id, cause=cause)
    elif request.person_id is not None:
        restriction.restrict_person(tx, account_id, request.person_id, request_id=request_id, cause=cause)


def _end_objection(tx: Tx, request: SubjectRequest) -> None:
    if _holds_alone(tx, request):
        restriction.end(tx, request.account_id, request.person_id, "objection")


def _holds_alone(tx: Tx, request: SubjectRequest) -> bool:
    """Whether whoever asked is there, and no other objection waits for a decision until which the same is restricted."""
    if request.scope == "person" and request.person_id is None:
        return False
    key = accounts.find_account(tx, request.account_id).key
    running = _others(request).where(SubjectRequest.type == "objection", SubjectRequest.status.in_(states.RUNNING))
    running = running.where(SubjectRequest.duplicate_of.is_(None))
    return not any(open_details(key, each).get("restrict") for each in tx.session.scalars(running))


def _is_closing(tx: Tx, request: SubjectRequest) -> bool:
    """Whether it is about an account that is closing, as a whole."""
    return request.scope == "account" and accounts.find_account(tx, request.account_id).row.status == "closing"


def _is_needed_by_others(tx: Tx, request: SubjectRequest) -> bool:
    """Whether staff restricted what is to be erased, or anybody in it, or somebody else than the asker their own data.

    As is needed for legal claims: Articles 17(3)(e), 18(1)(b) and (c), 18(2).
    """
    others = _people(tx, request.account_id) if request.scope == "account" else []
    causes = {each: restriction.standing(tx, request.account_id, each).causes for each in {None, request.person_id, *others}}
    asker = _asker(tx, request)
    return any("staff" in found or (found and each in others and each != asker) for each, found in causes.items())


def _asker(tx: Tx, request: SubjectRequest) -> UUID | None:
    """The person who was identified as the asker, else the only owner; None where it may be one of several."""
    kind, _, person_id = (request.identity_verified_by or "").partition(":")
    if kind in ("owner", "member"):
        return UUID(person_id)
    owners = people.owners_of(tx, request.account_id)
    return owners[0] if len(owners) == 1 else None


def _others(request: SubjectRequest) -> Select[SubjectRequest]:
    """Other requests about the same."""
    return select(SubjectRequest).where(
        SubjectRequest.account_id == request.account_id,
        SubjectRequest.request_id != request.request_id,
        SubjectRequest.scope == request.scope,
        SubjectRequest.person_id.is_not_distinct_from(request.person_id),
    )


def _people(tx: Tx, account_id: UUID) -> list[UUID]:
    query = select(Person.person_id).where(Person.account_id == account_id)
    return list(tx.session.scalars(query.where(Person.erasure_requested_at.is_(None))))


def _categories(changed: Any) -> set[str]:
    return {(Category.ACCOUNT if name in ACCOUNT_DATA else Category.IDENTIFICATION).value for name in changed}


def _check_members(changes: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raises InvalidError for what cannot be rectified by its holder."""
    wrong = sorted(changes.keys() - known)
    if wrong:
        raise InvalidError(
            errors=tuple(FieldError("/changes", f"{len(wrong)} of them cannot be changed") for _ in wrong[:1])
        )


Work = Callable[[Tx, Policy, SubjectRequest, Mapping[str, Any]], str | None]
WORK: Final[Mapping[str, Work]] = {
    "rectification": _rectify,
    "erasure": _erase,
    "restriction": _restrict,
    "objection": _object,
    "consent_withdrawal": _withdraw_consents,
}
