"""What the portal and people's rights leave of an account: a row in each of their tables, as the services make them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.controller import accounts
from cloudpriv.controller.holder_tables import (
    CONSENT,
    DISCLOSURE,
    SESSION,
    ConsentRecord,
    Disclosure,
    HolderSession,
    OneTimeCode,
)
from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.rights.tables import REPLACEMENT, OwnerReplacement, PolicyAnnouncement, RecipientNotice

VERSION: Final = "2023-03-30"


def furnish(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    """Add them. The recipient of the disclosure is told of every erasure already, so that no purge waits for that."""
    key = accounts.find_account(tx, account_id).key
    session, code, consent, replacement = (new_id() for _ in range(4))
    of_person: dict[str, Any] = {"account_id": account_id, "person_id": person_id}
    day, browser = timedelta(days=1), key.seal(session, SESSION, {"browser": "any"})
    seen = {"created_at": tx.now, "last_seen_at": tx.now, "password_at": tx.now, "expires_at": tx.now + day}
    tx.session.add(HolderSession(**of_person, session_id=session, secret_hash=bytes(32), browser=browser, **seen))
    asked = {
        "purpose": "identity",
        "known": False,
        "mailed": True,
        "tries": 0,
        "created_at": tx.now,
        "expires_at": tx.now + day,
    }
    tx.session.add(OneTimeCode(**of_person, code_id=code, **asked))
    record = key.seal(consent, CONSENT, {"method": "portal"})
    given = {"purpose": "surveys", "number": 1, "state": "given", "at": tx.now, "policy_version": VERSION}
    tx.session.add(ConsentRecord(**of_person, consent_id=consent, record=record, **given))
    evidence = key.seal(replacement, REPLACEMENT, {"documents": ["extract"], "note": None})
    times = {"requested_at": tx.now, "effective_at": tx.now + day, "ended_at": tx.now}
    stopped = {"status": "stopped", "checked_by": "operator:x", "evidence": evidence, "version": 2}
    tx.session.add(OwnerReplacement(**of_person, replacement_id=replacement, **stopped, **times))
    _disclose(tx, key, of_person)


def _disclose(tx: Tx, key: DataKey, of_person: Mapping[str, Any]) -> None:
    disclosure, of_data = new_id(), {"categories": ["identification"]}
    details = {"recipient": "Nordic Distribution AB", "email": None, "purpose": "sales", "reference": "ND-17"}
    sealed = key.seal(disclosure, DISCLOSURE, details)
    times = {"disclosed_at": tx.now, "recorded_at": tx.now, "recorded_by": "operator:x"}
    tx.session.add(
        Disclosure(**of_person, disclosure_id=disclosure, scope="person", details=sealed, country="SE", **of_data, **times)
    )
    tx.session.flush()
    told = {"kind": "erasure", "status": "told", "created_at": tx.now, "told_at": tx.now, "disclosure_id": disclosure}
    for concerns in (None, of_person["person_id"]):
        ids = {"account_id": of_person["account_id"], "notice_id": new_id(), "concerns": concerns}
        tx.session.add(RecipientNotice(**ids, **of_data, **told))


def announce(connection: Connection, now: object) -> None:
    """Have everybody told of a policy, which only workers do."""
    people = connection.execute(text("SELECT account_id, person_id FROM people")).all()
    for account_id, person_id in people:
        row = {"account_id": account_id, "person_id": person_id, "policy_version": VERSION, "announced_at": now}
        connection.execute(insert(PolicyAnnouncement).values(row).on_conflict_do_nothing())
