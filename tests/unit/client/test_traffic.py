"""Batches keep within the server's limits, in order, with two under way."""

import json
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.client.api import ApiError
from cloudpriv.client.rows import Record, Rejection, Row, malformed
from cloudpriv.client.traffic import MOST_BYTES, Verdict, batches, send_batches
from tests.unit.client.peer import HELD, LOST, Fault, Peer

TRAFFIC = "/v1/traffic"


def record(number: int, **more: object) -> Record:
    """A record of its own session."""
    return {
        "source": "s",
        "session": str(number),
        "device": "d",
        "started_at": "2024-01-01T00:00:00Z",
        **more,
    }


@given(st.lists(st.sampled_from(["good", "bad", "long"]), max_size=60), st.integers(1, 20))
def test_batches_hold_every_row_once_in_order(kinds: list[str], size: int) -> None:
    made: dict[str, Row] = {
        "good": record(1),
        "bad": malformed("it is"),
        "long": record(2, end_reason="x" * 100),
    }
    rows = [made[kind] for kind in kinds]
    packed = list(batches(rows, size))
    assert [row for batch in packed for row in batch.rows] == rows
    assert all(len(batch.rows) <= size for batch in packed)
    assert [batch.first for batch in packed] == [1 + sum(len(b.rows) for b in packed[:i]) for i in range(len(packed))]
    for batch in packed:
        assert json.loads(batch.body) == [row for row in batch.rows if isinstance(row, dict)]
        assert batch.sent == len(json.loads(batch.body))


def test_a_batch_over_the_body_limit_is_split_and_an_impossible_record_refused() -> None:
    large = [record(number, end_reason="x" * 900_000) for number in range(20)]
    rows: list[Row] = [*large, record(20, end_reason="x" * (MOST_BYTES + 1)), record(21)]
    packed = list(batches(rows))
    assert max(len(batch.body) for batch in packed) <= MOST_BYTES
    assert sum(batch.sent for batch in packed) == 21
    assert [batch.first for batch in packed] == [1 + sum(len(b.rows) for b in packed[:i]) for i in range(len(packed))]
    refused = [row for batch in packed for row in batch.rows if isinstance(row, Rejection)]
    assert refused == [Rejection("malformed", "the record is larger than a request may be")]


def test_text_that_is_not_utf8_refuses_its_row_only() -> None:
    (batch,) = batches([record(1), record(2, device="caf\udce9"), record(3, device="café")])
    assert [type(row) for row in batch.rows] == [dict, Rejection, dict]
    assert [sent["session"] for sent in json.loads(batch.body)] == ["1", "3"]


@pytest.mark.parametrize("size", [0, -1, 10_001])
def test_a_batch_size_that_the_server_does_not_take_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 10000"):
        next(batches([], size))


def test_keys_are_those_of_run_place_and_content() -> None:
    def keys(run: str, first: int, start: int) -> list[str]:
        return [batch.key for batch in batches([record(n) for n in range(start, start + 4)], 2, first=first, run=run)]

    assert keys("a", 1, 0) == keys("a", 1, 0)
    different = keys("a", 1, 0) + keys("b", 1, 0) + keys("a", 3, 0) + keys("a", 1, 2)
    assert len(set(different)) == 8


def test_ready_made_structs_are_sent_as_they_are(peer: Peer) -> None:
    class Ready(msgspec.Struct):
        source: str
        session: str
        started_at: str

    rows = [Ready("bench", str(number), "2024-01-01T00:00:00Z") for number in range(25)]
    with peer.client() as client:
        verdicts = [verdict for _, verdict in send_batches(client, batches(rows, 10))]
    assert verdicts == [Verdict(10, 0, []), Verdict(10, 0, []), Verdict(5, 0, [])]


def test_two_batches_are_under_way_and_a_third_waits(peer: Peer) -> None:
    peer.faults[TRAFFIC].extend([HELD, HELD])
    packed = batches([record(number) for number in range(40)], 10)
    with peer.client() as client:
        sending = threading.Thread(target=lambda: list(send_batches(client, packed)))
        sending.start()
        assert peer.arrived(TRAFFIC, 2)
        assert len(peer.asked("POST", TRAFFIC)) == 2
        peer.released.set()
        sending.join(60)
    assert len(peer.sessions) == 40
    assert len({headers["Idempotency-Key"] for headers, _ in peer.asked("POST", TRAFFIC)}) == 4


def test_verdicts_come_in_the_order_of_the_batches_though_the_first_is_slow(peer: Peer) -> None:
    peer.faults[TRAFFIC].extend([Fault(503), Fault(503), Fault(503)])
    with peer.client() as client:
        found = list(send_batches(client, batches([record(number) for number in range(30)], 5)))
    assert [batch.first for batch, _ in found] == [1, 6, 11, 16, 21, 26]


def test_an_answer_lost_after_the_commit_still_counts_as_accepted(peer: Peer) -> None:
    peer.faults[TRAFFIC].append(LOST)
    with peer.client() as client:
        ((_, verdict),) = send_batches(client, batches([record(1)]))
    assert verdict == Verdict(1, 0, [])


def test_a_server_without_idempotency_keys_answers_merged_and_nothing_is_lost(peer: Peer) -> None:
    peer.idempotent = False
    peer.faults[TRAFFIC].append(LOST)
    with peer.client() as client:
        ((_, verdict),) = send_batches(client, batches([record(1)]))
    assert verdict == Verdict(0, 1, [])


def test_a_batch_whose_first_request_still_runs_is_asked_for_again(peer: Peer) -> None:
    peer.faults[TRAFFIC].extend([Fault(409), Fault(409)])
    with peer.client() as client:
        ((_, verdict),) = send_batches(client, batches([record(1)]))
    assert verdict.accepted == 1


def test_rows_that_are_all_refused_here_need_no_request(peer: Peer) -> None:
    with peer.client() as client:
        ((batch, verdict),) = send_batches(client, batches([malformed("it is")]))
    assert (batch.sent, verdict) == (0, Verdict(0, 0, []))
    assert peer.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        {"accepted": 1, "merged": 0, "rejected": []},
        {"accepted": 1, "merged": 0, "rejected": [{"index": 2, "code": "x"}]},
        {"accepted": 1, "merged": 0, "rejected": [{"index": -1, "code": "x"}]},
        {"accepted": 0, "merged": 0, "rejected": [{"index": 1, "code": "x"}, {"index": 1, "code": "y"}]},
        {"accepted": 2},
    ],
)
def test_verdicts_that_do_not_add_up_are_an_error(peer: Peer, answer: dict[str, object]) -> None:
    peer.faults[TRAFFIC].append(Fault(200, body=json.dumps(answer).encode()))
    with peer.client() as client, pytest.raises(ApiError, match="Unexpected answer"):
        list(send_batches(client, batches([record(1), record(2)])))


def test_a_refused_batch_is_an_error(peer: Peer) -> None:
    peer.faults[TRAFFIC].append(Fault(422, body=b'{"title": "Unreadable"}'))
    with peer.client() as client, pytest.raises(ApiError, match="422 Unreadable"):
        list(send_batches(client, batches([record(1)])))
