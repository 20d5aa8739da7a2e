"""A file's traffic to the API: every row gets a verdict, and what is interrupted can be resumed."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from cloudpriv.client.api import ApiClient
from cloudpriv.client.checkpoint import Numbered, Report, job_of, open_rejects, resume
from cloudpriv.client.csvmap import load_map
from cloudpriv.client.devices import Devices
from cloudpriv.client.readers import Format, RowFile, reader_of
from cloudpriv.client.rows import Rejection, Row
from cloudpriv.client.traffic import Batch, Verdict, batches, send_batches


def ingest(
    client: ApiClient,
    rows: Iterable[Row],
    *,
    account: str | None = None,
    batch: int = 5_000,
    create_devices: bool = False,
    progress: Callable[[Report], None] | None = None,
    state: Path | None = None,
    job: str = "",
    rejects: Path | None = None,
) -> Report:
    """Send all rows; the report adds up to them. An interrupted ingest of the same `job` goes on at `state`.

    `account` (id or name) is that of records which name none. `rejects` gets NDJSON of row, code and detail.
    To go on, `rows` must be the same in the same order. Raises ApiError, or OSError when no server answers.
    """
    point = resume(state, job, rejects)
    rest = _of_account(islice(rows, point.report.rows, None), account)
    packed = batches(rest, batch, first=point.report.rows + 1, run=point.run)
    if create_devices:
        packed = _with_devices(packed, Devices(client), point.report)
    with open_rejects(rejects, point.rejects_size) as listing:
        point.save(state)
        for sent, verdict in send_batches(client, packed):
            point.acknowledge(len(sent.rows), verdict.accepted, verdict.merged, _rejected(sent, verdict), listing)
            point.save(state)
            if progress:
                progress(point.report)
    if state:
        state.unlink()
    return point.report


def ingest_file(
    client: ApiClient,
    path: Path,
    *,
    file_format: Format,
    csv_map: str | Path | None = None,
    networks: Sequence[str] = (),
    account: str | None = None,
    batch: int = 5_000,
    create_devices: bool = False,
    progress: Callable[[float, Report], None] | None = None,
    state: Path | None = None,
    rejects: Path | None = None,
) -> Report:
    """`ingest` of the rows of a file: `cloudpriv ingest` as one call. `progress` gets the part read, 0 to 1.

    `csv_map` is a file or the name of a shipped map; `networks` are those of the devices in a Zeek log, such as 10.0.0.0/8.
    `state` is `FILE.ingest` beside the file unless given; in a folder that is not for writing there is none, and an
    interrupted ingest starts again. Raises ApiError, MapError or OSError, each of one line.
    """
    columns = load_map(csv_map) if csv_map else None
    settings = (client.base_url, file_format, columns, networks, account, rejects)
    with RowFile(path, reader_of(file_format, columns, networks)) as file:
        return ingest(
            client,
            file,
            account=account,
            batch=batch,
            create_devices=create_devices,
            progress=(lambda report: progress(file.fraction(), report)) if progress else None,
            state=state or _beside(path),
            job=job_of(path, *settings),
            rejects=rejects,
        )


def _beside(path: Path) -> Path | None:
    folder = path.absolute().parent
    # The mode, too: root may write everywhere, also to what was made read-only on purpose.
    writable = os.access(folder, os.W_OK) and folder.stat().st_mode & 0o222
    return path.with_name(path.name + ".ingest") if writable else None


def _of_account(rows: Iterable[Row], account: str | None) -> Iterator[Row]:
    for row in rows:
        if account is not None and not isinstance(row, Rejection):
            row.setdefault("account", account)
        yield row


def _with_devices(packed: Iterable[Batch], devices: Devices, report: Report) -> Iterator[Batch]:
    for batch in packed:
        report.devices_created += devices.create_missing(row for row in batch.rows if isinstance(row, dict))
        yield batch


def _rejected(batch: Batch, verdict: Verdict) -> Numbered:
    """Every rejected row of a batch by its number: those not sent, and those that the server did not take."""
    if not verdict.rejected and batch.sent == len(batch.rows):
        return []
    numbered = list(enumerate(batch.rows, batch.first))
    sent = [number for number, row in numbered if not isinstance(row, Rejection)]
    local = [(number, row) for number, row in numbered if isinstance(row, Rejection)]
    remote = [(sent[refusal.index], Rejection(refusal.code, refusal.detail)) for refusal in verdict.rejected]
    return sorted(local + remote)
