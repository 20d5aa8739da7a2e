"""The body of `POST /v1/traffic`: decoded whole when all is well, record by record to name what is not.

msgspec decodes a batch in a few milliseconds but takes the last of two members of one name without a word. So what was
decoded is encoded again: a member that was overwritten shows as quotation marks that are missing.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from cloudpriv.api.bulk_body import read_one, take_apart
from cloudpriv.controller.traffic_records import Batch, Record
from cloudpriv.platform.errors import TooLargeError
from cloudpriv.platform.rejections import Rejection

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_RECORDS: Final = 10_000
# Commas that a body may hold: more than 10,000 records have use for, and few enough to take apart in memory.
MAX_COMMAS: Final = 20 * MAX_RECORDS

MEMBERS: Final = frozenset(Record.__struct_encode_fields__)
ARRAY: Final = msgspec.json.Decoder(list[Record])
ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
ONE: Final = msgspec.json.Decoder(Record)
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_array(body: bytes) -> Batch:
    """The records of a JSON array.

    Raises UnreadableError for what is no JSON array, TooLargeError over 10,000 records.
    """
    _check_size(body)
    try:
        records = ARRAY.decode(body)
    except UNREADABLE:
        return _one_by_one(_elements(body))
    return _batch(records) if _complete(body, records) else _one_by_one(_elements(body))


def read_lines(body: bytes) -> Batch:
    """The records of NDJSON, one a line; empty lines are none and not counted. Raises TooLargeError over 10,000 lines."""
    _check_size(body)
    if body.count(b"\n") > MAX_RECORDS:
        raise TooLargeError(f"The body has more than {MAX_RECORDS} lines.")
    lines = [line for line in body.split(b"\n") if line.strip()]
    try:
        records = [ONE.decode(line) for line in lines]
    except UNREADABLE:
        return _one_by_one(lines)
    return _batch(records) if _complete(body, records) else _one_by_one(lines)


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BYTES:
        raise TooLargeError(f"The body is larger than {MAX_BYTES} bytes.")


def _batch(records: Sequence[Record]) -> Batch:
    _check_count(records)
    return Batch(records, range(len(records)))


def _check_count(records: Sequence[object]) -> None:
    if len(records) > MAX_RECORDS:
        raise TooLargeError(f"The body has more than {MAX_RECORDS} records.")


def _complete(body: bytes, records: Sequence[Record]) -> bool:
    """Whether no member was overwritten and no text can hold NUL. False also where it takes a closer look to tell."""
    return b"\\" not in body and body.count(b'"') == msgspec.json.encode(records).count(b'"')


def _elements(body: bytes) -> list[bytes]:
    too_many = f"The body has more parts than {MAX_RECORDS} records can have."
    return take_apart(body, ELEMENTS.decode, commas=MAX_COMMAS, too_many=too_many, other="The body is not a JSON array.")


def _one_by_one(pieces: Sequence[bytes]) -> Batch:
    _check_count(pieces)
    records: list[Record] = []
    indexes: list[int] = []
    rejected: list[Rejection] = []
    for index, piece in enumerate(pieces):
        found = read_one(piece, ONE, MEMBERS, "records")
        if isinstance(found, Record):
            records.append(found)
            indexes.append(index)
        else:
            rejected.append(Rejection(index, "malformed", found))
    return Batch(records, indexes, rejected)
