"""/v1/logdata/deletions: what the customer deletes is in no answer from then on."""

from typing import Any

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.ids import new_id
from tests.factories import NOW
from tests.logdata import Caller, carry_out
from tests.senders import Sender, point, read_integers


@pytest.fixture
def sent(processor: ProcessorServices, reader: Caller) -> Caller:
    """A reader of an account of two devices."""
    Sender(processor, reader.account_id).send([point(1, NOW), point(2, NOW, "level")])
    Sender(processor, reader.account_id, "pump-2").send([point(3, NOW)])
    return reader


def left(reader: Caller) -> list[Any]:
    """The values that are told."""
    answer = reader.get("/v1/logdata/points").json
    assert answer is not None
    return [each["value"] for each in answer["items"]]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [({"all": True}, []), ({"device": "pump-1"}, [3]), ({"device": "pump-1", "tag": "level"}, [1, 3]),
     ({"before": NOW.isoformat()}, [1, 2, 3]), ({"from": NOW.isoformat()}, [])],
)  # fmt: skip
def test_what_is_deleted_is_told_no_more_and_erased_by_the_worker(
    processor: ProcessorServices, processor_worker: ProcessorServices, sent: Caller, wanted: dict[str, Any],
    expected: list[int],
) -> None:  # fmt: skip
    ordered = sent.post("/v1/logdata/deletions", wanted)
    assert ordered.status_code == 202
    assert left(sent) == expected
    carry_out(processor_worker)
    done = sent.get(ordered.headers["Location"]).json
    assert done is not None
    assert (done["status"], done["points"], done["trigger"]) == ("done", 3 - len(expected), "customer")
    assert read_integers(processor, sent.account_id) == expected == left(sent)


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [({}, "/all"), ({"all": True, "device": "pump-1"}, "/all"), ({"all": False}, "/all"), ({"tag": "level"}, "/all"),
     ({"device": "pump-3"}, "/device"), ({"device": "pump-2", "tag": "level"}, "/tag"),
     ({"from": NOW.isoformat(), "before": NOW.isoformat()}, "/before")],
)  # fmt: skip
def test_what_says_not_clearly_what_is_to_go_deletes_nothing(sent: Caller, wanted: dict[str, Any], pointer: str) -> None:
    answer = sent.post("/v1/logdata/deletions", wanted)
    assert answer.status_code == 422
    assert answer.json is not None
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert left(sent) == [1, 2, 3]


def test_a_device_deletes_nothing(sent: Caller, device: Caller) -> None:
    assert device.post("/v1/logdata/deletions", {"all": True}).status_code == 403
    assert left(sent) == [1, 2, 3]


def test_a_deletion_is_no_other_accounts(sent: Caller) -> None:
    assert sent.get(f"/v1/logdata/deletions/{new_id()}").status_code == 404
