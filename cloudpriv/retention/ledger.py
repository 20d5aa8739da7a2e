"""The erasure ledger outside the database: what a restored backup of the database cannot have forgotten.

Every erasure is an object in a bucket of its own, which no restore of the database takes back in time. It holds the
SHA-256 of the account's random id, the rule, counts and the time: no personal data. It is written once, after the erasure
was verified and before the transaction that ends the purge, so that the database knows of no erasure that the bucket lacks.
What the bucket knows and the database does not came back with a backup, and is erased again by `replay`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import func, select

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention.tables import LedgerEntry

PREFIX: Final = "ledger/"
STAMP: Final = "%Y%m%dT%H%M%S.%fZ"
KEY: Final = re.compile(r"ledger/(?P<stamp>\d{8}T\d{6}\.\d{6}Z)-(?P<hash>[0-9a-f]{64})\.json")
PAGE: Final = 1000  # as many keys as an S3 listing answers at a time
# A purge may end so much later than another that was verified after it, while the object store or its worker was away.
LATENESS: Final = timedelta(days=1)
# Those of the hashes that the database does not know as erased. A purge in the step `certificate` is ending at this moment:
# its object is written before its row. One statement, so that no purge ends between two looks.
LACKING: Final = """
SELECT hash FROM unnest(%(hashes)s::bytea[]) AS hash
WHERE NOT EXISTS (SELECT FROM ledger WHERE account_hash = hash) AND hash <> ALL (ARRAY(
  SELECT sha256(uuid_send(account_id)) FROM purges
  WHERE status IN ('planned', 'running') AND step = 'certificate' AND account_id IS NOT NULL))
"""


class LedgerError(Exception):
    """Something in the ledger's bucket is not what was written there; the text names the object's key."""


@dataclass(frozen=True)
class Entry:
    """One erasure."""

    account_hash: bytes
    service: str
    trigger: str
    rule: str
    policy_version: str
    counts: dict[str, int]
    erased_at: datetime

    @property
    def key(self) -> str:
        """Where it lies in the bucket: in order of time."""
        return _key(self.erased_at, self.account_hash)


def store(objects: ObjectStore, entry: Entry, *, first: bool = False) -> None:
    """Write an entry once; the same one again changes nothing. `first` says that nobody can have written it before.

    Raises BusyError when the store is away, LedgerError when another entry lies in its place, which then stays.
    """
    content = _written(entry)
    if first:
        objects.put(entry.key, content)
        return
    try:
        found = objects.get(entry.key)
    except NotFoundError:
        objects.put(entry.key, content)
        return
    if found != content:
        raise LedgerError(f"another entry lies at {entry.key}")


def ahead_of(tx: Tx, objects: ObjectStore) -> bool:
    """Whether the bucket tells of an erasure that the database lacks: then the database was restored from a backup.

    Looks at what was erased since shortly before the database's newest erasure, so it costs the same after a million of
    them. An erasure dated ahead, by a clock that had jumped, hides none of today. Raises BusyError when the store is away.
    The transaction must see what others commit meanwhile (read committed).
    """
    newest = tx.session.scalar(select(func.max(LedgerEntry.erased_at)))
    after = PREFIX if newest is None else _key_before(min(newest, tx.now) - LATENESS)
    return any(lacking(tx, keys) for keys in pages(objects, after))


def lacks_newest(tx: Tx, objects: ObjectStore) -> bool:
    """Whether the bucket lacks the database's newest erasure: then it is another one, or was emptied. Raises BusyError."""
    query = select(LedgerEntry.erased_at, LedgerEntry.account_hash)
    query = query.order_by(LedgerEntry.erased_at.desc(), LedgerEntry.account_hash.desc())
    newest = tx.session.execute(query.limit(1)).one_or_none()
    return newest is not None and not objects.has(_key(*newest))


def pages(objects: ObjectStore, after: str = PREFIX) -> Iterator[list[str]]:
    """The keys of all entries after the key `after`, in order of time, many at once. Raises BusyError."""
    remaining = objects.keys_after(PREFIX, after)
    return iter(lambda: list(islice(remaining, PAGE)), [])


def lacking(tx: Tx, keys: Sequence[str]) -> list[str]:
    """Those of the keys whose erasures the database does not know. Raises LedgerError at a key that no entry has."""
    hashes = [_hash_in(key) for key in keys]
    unknown = set(tx.connection.exec_driver_sql(LACKING, {"hashes": hashes}).scalars())
    return [key for key, account_hash in zip(keys, hashes, strict=True) if account_hash in unknown]


def read(objects: ObjectStore, key: str) -> Entry:
    """The entry at a key. Raises BusyError, NotFoundError, or LedgerError when it is none or another's."""
    try:
        members = json.loads(objects.get(key))
        erased_at = datetime.strptime(members["erased_at"], STAMP).replace(tzinfo=UTC)
        entry = Entry(**members | {"account_hash": bytes.fromhex(members["account_hash"]), "erased_at": erased_at})
    except (ValueError, TypeError, KeyError):
        raise LedgerError(f"{key} is no entry of the ledger") from None
    if entry.key != key:
        raise LedgerError(f"another entry lies at {key}")
    return entry


def _key(erased_at: datetime, account_hash: bytes) -> str:
    return f"{_key_before(erased_at)}-{account_hash.hex()}.json"


def _key_before(moment: datetime) -> str:
    """What the keys of entries of this moment begin with: before all of them, after all earlier ones."""
    return PREFIX + moment.astimezone(UTC).strftime(STAMP)


def _hash_in(key: str) -> bytes:
    found = KEY.fullmatch(key)
    if found is None:
        raise LedgerError(f"{key} is no entry of the ledger")
    return bytes.fromhex(found["hash"])


def _written(entry: Entry) -> bytes:
    members = asdict(entry) | {
        "account_hash": entry.account_hash.hex(),
        "erased_at": entry.erased_at.astimezone(UTC).strftime(STAMP),
    }
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
