"""Sessions of account holders: begun with a password or a code, ended by time, by them, or by what changes.

In the portal a cookie opens them (see `session_cookies`), at the API a token that names them (see `holders`). A session that
has ended is a row that is gone, so that a copied cookie or token opens nothing from then on. Role and service are
read with every request, never from either.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, update

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people, session_cookies
from cloudpriv.controller.holder_tables import SESSION, HolderSession
from cloudpriv.controller.session_cookies import Cookie
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError, UnauthenticatedError
from cloudpriv.platform.ids import new_id

IDLE: Final = timedelta(minutes=30)
LONGEST: Final = timedelta(hours=12)
FRESH: Final = timedelta(minutes=5)  # since the password was given, for what asks for it again
SEEN_EVERY: Final = timedelta(minutes=1)  # so that reading pages does not write a row each time
MOST: Final = 10  # of one person at once; the one that would end first makes room
API: Final = "API"  # what a session of a token is called, where others have their browser


@dataclass(frozen=True)
class Session:
    """A live session, whose it is, and what that one is in the account at this moment."""

    account_id: UUID
    session_id: UUID
    person_id: UUID
    role: str
    service: str
    account_status: str
    restricted_at: datetime | None  # since when processing of the person's data is restricted
    password_at: datetime | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime

    @property
    def actor(self) -> Actor:
        """On whose behalf what is done in the session is done."""
        kind: Final = "owner" if self.role == "owner" else "member"
        service: Final = "intesis" if self.service == "intesis" else "talk2m"
        return Actor(kind, str(self.person_id), service, frozenset({HOLDER}), self.account_id)


@dataclass(frozen=True)
class OwnSession:
    """A session as its person is shown it; `browser` is the family of browser and system that began it."""

    session_id: UUID
    browser: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


def begin(tx: Tx, account_id: UUID, person_id: UUID, browser: str) -> tuple[Session, str]:
    """A new session of a person who has just shown who they are, and its cookie's value, audited.

    The person's account is locked meanwhile. Raises NotFoundError when the person or the account is gone.
    """
    cookie = session_cookies.make(account_id, new_id())
    return _begun(tx, person_id, cookie, browser, LONGEST), cookie.written()


def begin_token(tx: Tx, account_id: UUID, person_id: UUID, lasts: timedelta) -> Session:
    """A new session of a person who has just shown who they are and comes with a token that lasts as long; audited.

    No cookie opens it. Raises as `begin` does.
    """
    return _begun(tx, person_id, session_cookies.make(account_id, new_id()), API, lasts)


def resume(tx: Tx, cookie: str, *, seen: bool = True) -> Session | None:
    """The live session of a cookie's value, seen now; None for one that has ended or never was.

    Whoever acts in `tx` need not be known. It ends 30 minutes after it was seen last, and 12 hours after it began. What a
    page asks for by itself is no sign that somebody is there: without `seen` it does not last longer.
    """
    told = session_cookies.read(cookie)
    found = None if told is None else _found(tx, told.account_id, told.session_id)
    if told is None or found is None or not told.opens(found[0].secret_hash):
        return None
    session = _live(*found)
    if seen and tx.now >= session.last_seen_at + SEEN_EVERY:
        _see(tx, session)
    return session


def confirm_password(tx: Tx, session: Session) -> tuple[Session, str]:
    """Note that the password was given again, and have the session go on under a new cookie; the old one opens nothing.

    Raises NotFoundError when the session has ended meanwhile.
    """
    cookie = session_cookies.make(session.account_id, session.session_id)
    values = {"secret_hash": cookie.secret_hash, "password_at": tx.now, "last_seen_at": tx.now}
    changed = update(HolderSession).where(*_is(session), *_alive(tx.now)).values(values)
    if _rows(tx, changed) == 0:
        raise NotFoundError
    events.record(tx, "session.confirm", account_id=session.account_id, subject_id=session.person_id)
    found = _found(tx, session.account_id, session.session_id)
    if found is None:
        raise NotFoundError
    return _live(*found), cookie.written()


def is_fresh(session: Session, now: datetime) -> bool:
    """Whether the password was given in this session within the last five minutes."""
    return session.password_at is not None and session.password_at <= now < session.password_at + FRESH


def require(tx: Tx, session: Session) -> None:
    """Lock a session's account for the rest of `tx`. Raises UnauthenticatedError when the session has ended meanwhile."""
    accounts.find_account(tx, session.account_id, lock=True)
    if _found(tx, session.account_id, session.session_id) is None:
        raise UnauthenticatedError


def end(tx: Tx, session: Session) -> None:
    """End a session, audited; nothing to do for one that has ended."""
    _end(tx, session.account_id, session.person_id, HolderSession.session_id == session.session_id)


def end_one(tx: Tx, account_id: UUID, person_id: UUID, session_id: UUID) -> None:
    """End one of a person's own sessions by its id, audited. Raises NotFoundError when it is none of theirs."""
    if not _end(tx, account_id, person_id, HolderSession.session_id == session_id):
        raise NotFoundError


def end_all(tx: Tx, account_id: UUID, person_id: UUID | None, *, but: UUID | None = None) -> int:
    """End every session of a person, or of all people of the account, `but` the one of this id; how many. Audited."""
    return _end(tx, account_id, person_id, *(() if but is None else (HolderSession.session_id != but,)))


def list_sessions(tx: Tx, account_id: UUID, person_id: UUID) -> list[OwnSession]:
    """The live sessions of a person, the one used last first; the look is audited."""
    key = accounts.find_account(tx, account_id).key
    of_person = (HolderSession.account_id == account_id, HolderSession.person_id == person_id)
    query = select(HolderSession).where(*of_person, *_alive(tx.now))
    events.record(tx, "session.read", account_id=account_id, subject_id=person_id)
    return [
        OwnSession(
            row.session_id,
            key.open(row.session_id, SESSION, row.browser)["browser"],
            row.created_at,
            row.last_seen_at,
            row.expires_at,
        )
        for row in tx.session.scalars(query.order_by(HolderSession.last_seen_at.desc(), HolderSession.session_id))
    ]


def _begun(tx: Tx, person_id: UUID, cookie: Cookie, browser: str, lasts: timedelta) -> Session:
    account_id, session_id, _ = cookie
    account = accounts.find_account(tx, account_id, lock=True)
    people.find_person(tx, account_id, person_id)
    _end_all_but(tx, account_id, person_id, MOST - 1)
    row = HolderSession(
        account_id=account_id,
        session_id=session_id,
        person_id=person_id,
        secret_hash=cookie.secret_hash,
        browser=account.key.seal(session_id, SESSION, {"browser": browser}),
        created_at=tx.now,
        last_seen_at=tx.now,
        password_at=tx.now,
        expires_at=tx.now + lasts,
    )
    tx.session.add(row)
    tx.session.flush()
    found = _found(tx, account_id, session_id)
    if found is None:
        raise NotFoundError
    events.record(tx, "session.create", account_id=account_id, subject_id=person_id)
    return _live(*found)


def _alive(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return HolderSession.expires_at > now, HolderSession.last_seen_at > now - IDLE


def _is(session: Session) -> tuple[ColumnElement[bool], ...]:
    return HolderSession.account_id == session.account_id, HolderSession.session_id == session.session_id


def _found(tx: Tx, account_id: UUID, session_id: UUID) -> Any:
    """The row of a session with its person's and account's, as long as all three are alive."""
    query = (
        select(HolderSession, Person.role, Person.restricted_at, Account.service, Account.status)
        .join(Person, (Person.account_id == HolderSession.account_id) & (Person.person_id == HolderSession.person_id))
        .join(Account, Account.account_id == HolderSession.account_id)
        .where(HolderSession.account_id == account_id, HolderSession.session_id == session_id, *_alive(tx.now))
        .where(Person.erasure_requested_at.is_(None), Account.status != "purging")
        .execution_options(populate_existing=True)
    )
    return tx.session.execute(query).one_or_none()


def _live(row: HolderSession, role: str, restricted_at: datetime | None, service: str, status: str) -> Session:
    return Session(
        account_id=row.account_id,
        session_id=row.session_id,
        person_id=row.person_id,
        role=role,
        service=service,
        account_status=status,
        restricted_at=restricted_at,
        password_at=row.password_at,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=row.expires_at,
    )


def _see(tx: Tx, session: Session) -> None:
    later = HolderSession.last_seen_at < tx.now  # never back, when another request was answered in between
    tx.session.execute(update(HolderSession).where(*_is(session), later).values(last_seen_at=tx.now))


def _end(tx: Tx, account_id: UUID, person_id: UUID | None, *which: ColumnElement[bool]) -> int:
    own = () if person_id is None else (HolderSession.person_id == person_id,)
    gone = delete(HolderSession).where(HolderSession.account_id == account_id, *own, *which)
    ended = tx.session.scalars(gone.returning(HolderSession.person_id)).all()
    for whose in ended:
        events.record(tx, "session.end", account_id=account_id, subject_id=whose)
    return len(ended)


def _end_all_but(tx: Tx, account_id: UUID, person_id: UUID, number: int) -> None:
    """End a person's sessions but those that would last longest if they were not used again."""
    own = select(HolderSession.session_id).where(
        HolderSession.account_id == account_id, HolderSession.person_id == person_id
    )
    ends_at = func.least(HolderSession.last_seen_at + IDLE, HolderSession.expires_at)
    surplus = own.order_by(ends_at.desc(), HolderSession.session_id.desc()).offset(number)
    _end(tx, account_id, person_id, HolderSession.session_id.in_(surplus))


def _rows(tx: Tx, statement: Any) -> int:
    return len(tx.session.scalars(statement.returning(HolderSession.session_id)).all())
