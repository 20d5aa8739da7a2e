"""What an erasure leaves behind: its entry in the ledger and the content of its certificate. No personal data."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.classify import Category, classification_of
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.policy.register import Policy
from cloudpriv.processor.upkeep import erasure
from cloudpriv.retention import erase
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.tables import LedgerEntry, Purge

TABLES: Final = ControllerBase.metadata.tables
STATEMENT: Final = (
    "All data of the account that this service held, its log data included, was erased: data keys, rows, objects with all "
    "versions and unfinished uploads, and queued work. What backups of the database hold of it (sealed values beside their "
    "wrapped key; ids, times, byte counts and remote addresses in the clear) lasts until those backups end."
)


def ledger_entry(purge: Purge, account_id: UUID) -> Entry:
    """The entry of a verified purge."""
    if purge.erased_at is None:
        raise ValueError("a purge enters the ledger after it was verified")
    return Entry(
        account_hash=erase.hash_of(account_id),
        service=purge.service,
        trigger=purge.trigger,
        rule=purge.rule,
        policy_version=purge.policy_version,
        counts=purge.counts,
        erased_at=purge.erased_at,
    )


def enter(tx: Tx, entry: Entry, certificate_id: UUID | None) -> None:
    """Add the entry to the ledger's table, unless it is there: an account can be erased again after a restore."""
    row = {
        "account_hash": entry.account_hash,
        "service": entry.service,
        "trigger": entry.trigger,
        "rule": entry.rule,
        "policy_version": entry.policy_version,
        "counts": entry.counts,
        "erased_at": entry.erased_at,
        "certificate_id": certificate_id,
    }
    tx.session.execute(insert(LedgerEntry).values(row).on_conflict_do_nothing())


def certificate_body(policy: Policy, purge: Purge, account_hash: bytes) -> dict[str, Any]:
    """What the certificate says: what was erased, by which rule, when."""
    moments = {"planned_at": purge.planned_at, "key_destroyed_at": purge.shredded_at, "erased_at": purge.erased_at}
    return {
        "type": "erasure",
        "statement": STATEMENT,
        "service": purge.service,
        "controller": policy.controller_of(purge.service).name,
        "account_sha256": account_hash.hex(),
        "trigger": purge.trigger,
        "rule": purge.rule,
        "policy_version": purge.policy_version,
        "erased": {"categories": by_category(purge.counts), "tables": purge.counts},
        **{name: at for name, at in moments.items() if at is not None},  # a backup may have been of after its key went
    }


def by_category(counts: dict[str, int]) -> dict[str, int]:
    """How many of the erased rows held data of each category of the policy; a row with several counts in each."""
    found: dict[str, int] = {}
    for name, number in counts.items():
        for category in _categories(name):
            found[category] = found.get(category, 0) + number
    return found


def _categories(table: str) -> list[str]:
    of_log_data = erasure.category_of(table)
    if of_log_data is not None:
        return [of_log_data.value]
    columns = TABLES[table].columns if table in TABLES else ()
    marks = (classification_of(column) for column in columns)
    return sorted({mark.category.value for mark in marks if mark is not None and mark.category is not Category.OPERATION})
