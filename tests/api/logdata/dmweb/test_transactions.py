"""/dmweb: a reader is sent every point once, and has points deleted, at once and for good."""

from typing import Any

import pytest

from cloudpriv.bootstrap import ProcessorServices
from tests.dmweb import MINUTE, Program, history, written
from tests.factories import NOW
from tests.logdata import carry_out
from tests.senders import Sender, point


def test_syncdata_goes_on_where_the_transaction_before_it_ended(program: Program, pump: Sender) -> None:
    first = program.ask("syncdata", createTransaction="true")
    assert history(first)["temperature"] == [21.5, 22.25]
    assert first["moreDataAvailable"] is False
    assert isinstance(first["transactionId"], str)
    pump.send([point(20.0, NOW - 9 * MINUTE, "temperature")])
    second = program.ask("syncdata", createTransaction="1", lastTransactionId=first["transactionId"])
    assert history(second) == {"temperature": [20.0]}
    assert second["ewons"][0]["tags"][0]["value"] == 22.25, "of the latest point, not of the one that came last"
    assert program.ask("syncdata", lastTransactionId=second["transactionId"])["ewons"] == []


def test_syncdata_without_a_transaction_gives_no_number(program: Program, pump: Sender) -> None:
    assert "transactionId" not in program.ask("syncdata")
    assert "transactionId" not in program.ask("syncdata", createTransaction="false", lastTransactionId="")


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ({"all": "true"}, {}),
        ({"ewonId": 1}, {}),
        ({"to": "before"}, {"temperature": [22.25], "starts": [7], "running": [True], "state": ["idle"]}),
        ({"tagId": "temperature"}, {"starts": [7], "running": [True], "state": ["idle"]}),
        ({"from": "after", "all": "true"}, {"temperature": [21.5]}),
    ],
)
def test_delete_hides_at_once_and_is_carried_out(
    program: Program,
    pump: Sender,
    processor_worker: ProcessorServices,
    parameters: dict[str, Any],
    left: dict[str, Any],
) -> None:
    temperature = program.ask("getewon", id=1)["tags"][0]["id"]
    words = {"before": written(NOW - 2 * MINUTE), "after": written(NOW - MINUTE), "temperature": temperature}
    assert program.ask("delete", **{name: words.get(value, value) for name, value in parameters.items()}) == {
        "success": True
    }
    count = sum(len(values) for values in left.values())
    for _ in range(2):
        assert history(program.ask("getdata")) == left
        assert program.ask("getstatus")["historyCount"] == count
        assert sum("value" in tag for tag in program.ask("getewon", id=1)["tags"]) == len(left)
        carry_out(processor_worker)
    assert history(program.ask("syncdata")) == left


def test_getstatus_tells_no_times_of_what_is_deleted(program: Program, pump: Sender) -> None:
    program.ask("delete", to=written(NOW - 2 * MINUTE))
    device = program.ask("getstatus")["ewons"][0]
    assert (device["historyCount"], device["firstHistoryDate"]) == (4, written(NOW - MINUTE))
    program.ask("delete", all="True")
    assert program.ask("getstatus")["ewons"] == [{"id": 1, "name": "pump-1", "historyCount": 0}]


def test_delete_of_a_transaction_takes_what_was_sent_and_no_more(program: Program, pump: Sender) -> None:
    sent = program.ask("syncdata", createTransaction="true")["transactionId"]
    pump.send([point(5, NOW - 9 * MINUTE, "starts")])
    program.ask("delete", transactionId=sent)
    assert history(program.ask("getdata")) == {"starts": [5]}


def test_clean_forgets_transactions_and_deletes_nothing(program: Program, pump: Sender) -> None:
    sent = program.ask("syncdata", createTransaction="true")["transactionId"]
    assert program.ask("clean", ewonId=1) == {"success": True}
    assert program.ask("syncdata", 400, lastTransactionId=sent)["code"] == 400
    assert program.ask("getstatus")["historyCount"] == 5
