"""/v1/logdata/exports: an archive is ordered, written by a worker, downloaded, and gone after some days."""

import json
from hashlib import sha256
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.ids import new_id
from cloudpriv.processor.order_tables import LogExport
from tests.factories import NOW
from tests.logdata import Caller, carry_out, log_transaction, make_log_account, reader_token
from tests.senders import Sender, point


@pytest.fixture
def sent(processor: ProcessorServices, reader: Caller) -> Caller:
    """A reader of an account of two devices."""
    Sender(processor, reader.account_id).send([point(1, NOW), point(2, NOW, "level")])
    Sender(processor, reader.account_id, "pump-2").send([point(3, NOW)])
    return reader


def order(reader: Caller, **wanted: Any) -> str:
    """Where an ordered export is to be read."""
    answer = reader.post("/v1/logdata/exports", {"format": "ndjson", **wanted})
    assert answer.status_code == 202, answer.text
    return str(answer.headers["Location"])


def values(reader: Caller, location: str) -> list[Any]:
    """The values of the archive's points."""
    return [json.loads(line)["value"] for line in reader.get(f"{location}/archive").data.splitlines()]


def test_an_archive_is_written_and_told_of(processor_worker: ProcessorServices, sent: Caller) -> None:
    location = order(sent)
    pending = sent.get(location).json
    assert pending is not None
    assert (pending["status"], pending["sha256"]) == ("pending", None)
    assert sent.get(f"{location}/archive").status_code == 409
    carry_out(processor_worker)
    ready, archive = sent.get(location).json, sent.get(f"{location}/archive")
    assert ready is not None
    assert (ready["status"], ready["points"], ready["size"]) == ("ready", 3, len(archive.data))
    assert ready["sha256"] == sha256(archive.data).hexdigest()
    assert archive.mimetype == "application/x-ndjson"
    assert archive.headers["Content-Disposition"] == f'attachment; filename="{ready["id"]}.ndjson"'


def test_devices_tags_and_times_are_selected(processor_worker: ProcessorServices, sent: Caller) -> None:
    of_one, of_a_tag = order(sent, devices=["pump-1"]), order(sent, tags=["speed"])
    of_none = order(sent, to=NOW.isoformat())
    carry_out(processor_worker)
    assert [values(sent, location) for location in (of_one, of_a_tag, of_none)] == [[1, 2], [1, 3], []]


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [({"devices": ["pump-3"]}, "/devices"), ({"tags": ["nothing"]}, "/tags"), ({"format": "xlsx"}, "/format"),
     ({"devices": []}, "/devices")],
)  # fmt: skip
def test_what_cannot_be_exported_is_refused(sent: Caller, wanted: dict[str, Any], pointer: str) -> None:
    answer = sent.post("/v1/logdata/exports", {"format": "csv"} | wanted)
    assert answer.status_code == 422
    assert answer.json is not None
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_what_is_deleted_before_the_worker_comes_is_not_in_the_archive(
    processor_worker: ProcessorServices, sent: Caller
) -> None:
    location = order(sent)
    assert sent.post("/v1/logdata/deletions", {"device": "pump-1"}).status_code == 202
    carry_out(processor_worker)
    assert values(sent, location) == [3]


def test_an_archive_is_gone_after_its_time(processor_worker: ProcessorServices, sent: Caller) -> None:
    location = order(sent)
    carry_out(processor_worker)
    with log_transaction(processor_worker) as tx:
        tx.session.execute(update(LogExport).values(expires_at=NOW))
    assert sent.get(f"{location}/archive").status_code == 410


def test_an_export_is_no_other_accounts(sent: Caller) -> None:
    assert sent.get(f"/v1/logdata/exports/{new_id()}").status_code == 404
    assert sent.get(f"/v1/logdata/exports/{new_id()}/archive").status_code == 404


def test_order_and_download_stand_in_the_access_log(processor_worker: ProcessorServices, sent: Caller) -> None:
    location = order(sent)
    carry_out(processor_worker)
    values(sent, location)
    log = sent.get("/v1/logdata/access-log?limit=500").json
    assert log is not None
    assert {"export.order", "export.ready", "export.download"} <= {each["action"] for each in log["items"]}


def test_exports_are_listed_newest_first(sent: Caller) -> None:
    made = [order(sent).rpartition("/")[2] for _ in range(3)]
    first = sent.get("/v1/logdata/exports?limit=2").get_json()
    rest = sent.get(f"/v1/logdata/exports?cursor={first['next_cursor']}").get_json()
    assert [each["id"] for each in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None


def test_no_other_accounts_exports_are_listed(log_app: Flask, processor: ProcessorServices, sent: Caller) -> None:
    order(sent)
    other = make_log_account(processor)
    assert Caller(log_app, reader_token(processor, other), other).get("/v1/logdata/exports").get_json()["items"] == []
