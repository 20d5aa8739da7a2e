"""The erasure of one person (GDPR Article 17), in the account's own rows and in copies made for its requests.

Sessions, codes, consents and whatever else is only theirs go with the person's row; traffic, disclosures and the requests
that they made stay, and name nobody. What those requests said is erased. The audit trail keeps ids.
"""

from uuid import UUID

from sqlalchemy import and_, or_, select, update

from cloudpriv.controller import accounts, people
from cloudpriv.platform.classify import exported_categories
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.retention import holds
from cloudpriv.retention.around import Around
from cloudpriv.retention.scope import scope_of
from cloudpriv.rights import addresses, requests, telling
from cloudpriv.rights.cases import states
from cloudpriv.rights.tables import Export, SubjectRequest


def erase_person(tx: Tx, account_id: UUID, person_id: UUID, version: int, *, request_id: UUID | None = None,
                 restricted: bool = False) -> bool:  # fmt: skip
    """Erase a person, and with them every archive of the account: one that is ready is gone, one in the making begins anew.

    Recipients of the person's data are told, and open requests of the person end, but for that of `request_id`, which this
    carries out: of that the person is told, at an address that goes along with the mail alone. False when legal holds keep
    something of the person: the rest is erased, nobody finds the person any more, and what is held goes when the holds end.
    Raises as `people.remove_person` does, `restricted` as there. The account stays locked, as whoever makes an archive or
    places a hold has to lock it, too.
    """
    account = accounts.lock_account(tx, account_id, restricted=restricted)
    person = people.find_person(tx, account_id, person_id)
    accounts.check_version(person.version, version)
    categories = exported_categories(ControllerBase.metadata)
    telling.notify(tx, account_id, "erasure", categories, person_id=person_id, request_id=request_id)
    _end_requests(tx, account_id, person_id, request_id)
    held = holds.on_person(tx, account_id, person_id)
    if request_id is not None:
        identity = people.open_identity(account.key, person)
        addresses.tell_erased(tx, account, identity, request_id, held=bool(held))
    _end_archives(tx, account_id, person_id)
    if held:
        people.defer_erasure(tx, account_id, person_id, version, restricted=restricted)
        Around(tx, account_id, scope_of(held)).empty_person(person_id)
    else:
        tx.session.flush()
        Around(tx, account_id, scope_of(held)).blank_person(person_id)
        people.remove_person(tx, account_id, person_id, version, restricted=restricted)
    tx.session.flush()
    tx.session.expire_all()  # the database has changed rows that name the person
    return not held


def _end_requests(tx: Tx, account_id: UUID, person_id: UUID, carried_out: UUID | None) -> None:
    """Withdraw what the person asked for beside their erasure: there is nobody left to answer."""
    query = select(SubjectRequest).where(
        SubjectRequest.account_id == account_id,
        SubjectRequest.person_id == person_id,
        SubjectRequest.status.in_(states.OPEN),
    )
    if carried_out is not None:  # those tied to it end as it ends
        query = query.where(SubjectRequest.request_id != carried_out)
        query = query.where(SubjectRequest.duplicate_of.is_distinct_from(carried_out))
    for row in tx.session.scalars(query.order_by(SubjectRequest.request_id.desc())).all():
        if row.status in states.OPEN:  # else it has ended with the one that it was tied to
            requests.withdraw(tx, row.request_id, outcome="person_erased")  # latest first, so that none takes over


def _end_archives(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    of_account = update(Export).where(Export.account_id == account_id)
    own = and_(Export.person_id == person_id, Export.status.in_(("pending", "running")))
    given_up = {
        "status": "failed",
        "failure": "person_erased",
        "lease_owner": None,
        "lease_until": None,
        "expires_at": tx.now,
    }
    tx.session.execute(of_account.where(own).values(given_up))
    others = or_(Export.person_id.is_(None), Export.person_id != person_id)
    tx.session.execute(of_account.where(Export.status == "ready", Export.expires_at > tx.now).values(expires_at=tx.now))
    anew = {"status": "pending", "attempts": 0, "lease_owner": None, "lease_until": None}
    tx.session.execute(of_account.where(Export.status == "running", others).values(anew))
