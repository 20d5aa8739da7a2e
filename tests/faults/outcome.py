"""What has to be so after purges, whatever befell them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import text

from cloudpriv.retention import erase
from tests.faults.canary import Planted, left
from tests.faults.stage import Stage
from tests.purges import checksums_of_others


def faults_left(stage: Stage, purges: Mapping[UUID, Planted], spared: Planted, before: dict[str, object]) -> Iterator[str]:
    """Whatever is not as it has to be, in words, after these purges of accounts; `before` is what `others` was.

    Each purge is done, and has one event, one certificate, and one entry in the ledger, in the database and in the bucket.
    Nothing of its account is left anywhere, and nothing of other accounts has changed.
    """
    with stage.owner.connect() as connection:
        status = {row.purge_id: row.status for row in connection.execute(text("SELECT purge_id, status FROM purges"))}
        proved = Counter(connection.execute(text("SELECT account_hash FROM ledger")).scalars())
        told = Counter(
            connection.execute(text("SELECT subject_id FROM audit_events WHERE action = 'account.erased'")).scalars()
        )
        certified = Counter(connection.execute(text("SELECT purge_id FROM certificates")).scalars())
    published = Counter(key.rpartition("-")[2] for key in stage.services.ledger.keys_after("ledger/", "ledger/"))
    for purge_id, planted in purges.items():
        account_hash = erase.hash_of(planted.account_id)
        found = {
            "events that tell of it": told.pop(purge_id, 0),
            "certificates": certified.pop(purge_id, 0),
            "entries in the ledger": proved.pop(account_hash, 0),
            "objects in the ledger's bucket": published.pop(f"{account_hash.hex()}.json", 0),
        }
        yield from (f"{purge_id} has {number} {what}" for what, number in found.items() if number != 1)
        if status[purge_id] != "done":
            yield f"{purge_id} is {status[purge_id]}"
    yield from (f"{each} proves the erasure of nothing" for each in (*told, *certified, *proved, *published))
    yield from (f"{mark} is left in {place}" for place, mark in left(stage, list(purges.values()), [spared]))
    after = others(stage, [each.account_id for each in purges.values()])
    yield from (f"another account has changed in {name}" for name, found in after.items() if found != before[name])


def others(stage: Stage, gone: Sequence[UUID]) -> dict[str, object]:
    """All that is of other accounts: checksums of their rows, and the keys of their objects."""
    kept = [key for key in stage.services.exports.keys("") if not any(str(each) in key for each in gone)]
    return {**checksums_of_others(stage.owner, *gone), "objects": kept}
