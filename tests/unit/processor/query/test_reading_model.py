"""Whatever is sent, deleted and compacted, in whatever order: every answer is that of a plain list of points."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor import accounts, devices
from cloudpriv.processor.orders import deletions
from cloudpriv.processor.query import aggregates, reading, windows
from cloudpriv.processor.storage import compaction
from cloudpriv.processor.storage.chunks import Selection
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account
from tests.senders import Sender, point

DEVICES = ("one", "two")
TAGS = ("a", "b")
STEP = timedelta(minutes=407)  # a few points an hour of some days, and several at one time
LATER = NOW + timedelta(hours=1)  # when batches have waited long enough to be compacted

Stored = tuple[str, str, datetime, int]
places = st.integers(0, 30)
sends = st.tuples(
    st.just("send"),
    st.sampled_from(DEVICES),
    st.lists(st.tuples(st.sampled_from(TAGS), places), min_size=1, max_size=12),
)
bounds = st.tuples(st.none() | places, st.none() | places)
scopes = st.tuples(st.none() | st.sampled_from(DEVICES), st.none() | st.sampled_from(TAGS))
deletes = st.tuples(st.just("delete"), scopes, bounds)
steps = st.lists(sends | sends | deletes | st.tuples(st.sampled_from(("compact", "work"))), min_size=1, max_size=10)
looks = st.tuples(scopes, bounds, st.integers(1, 7))


@dataclass
class Account:
    """An account, and the list that it is to be like: device, tag, time and value, which counts the points."""

    processor: ProcessorServices
    worker: ProcessorServices
    account_id: UUID
    senders: dict[str, Sender]
    model: list[Stored]
    sent: int = 0

    def send(self, device: str, points: list[tuple[str, int]]) -> None:
        """One batch."""
        made = [(device, tag, at(place), self.sent + number) for number, (tag, place) in enumerate(points)]
        self.senders[device].send([point(value, time, tag) for _, tag, time, value in made])
        self.model += made
        self.sent += len(made)

    def delete(self, scope: tuple[str | None, str | None], bounds: tuple[int | None, int | None]) -> None:
        """Order a deletion, of a tag only where there is one of that name."""
        device, tag = scope
        since, before = map(at_or_none, bounds)
        with log_transaction(self.processor) as tx:
            account = accounts.find_account(tx, self.account_id)
            device_id = None if device is None else self.senders[device].device_id
            tags = {} if device_id is None or tag is None else devices.find_tags(tx, account, device_id, [tag])
            tag = tag if tags else None
            tag_id = tags.get(tag or "")
            deletions.order(tx, account, device_id=device_id, tag_id=tag_id, since=since, before=before, trigger="customer")
        self.model = [each for each in self.model if not is_selected(each, device, tag, since, before)]

    def compact(self) -> None:
        """Compact what is there, without carrying out any deletion."""
        for sender in self.senders.values():
            compaction.carry_out(self.worker.plane, self.worker.objects, lambda: LATER, self.account_id, sender.device_id)

    def work(self) -> None:
        """Carry out all tasks."""
        carry_out(self.worker)

    def check(self, scope: tuple[str | None, str | None], bounds: tuple[int | None, int | None], limit: int) -> None:
        """That what is selected is told in every way."""
        device, tag = scope
        since, before = map(at_or_none, bounds)
        expected = sorted(
            (each for each in self.model if is_selected(each, device, tag, since, before)),
            key=lambda each: (each[2], each[3]),
        )
        with log_transaction(self.processor) as tx:
            selection = self.selected(device, tag, since, before)
            found = reading.snapshot(tx, self.account_id, selection)
            for enough in (1, windows.BULK):
                assert told(found.points(self.processor.objects, enough)) == [(each[2], each[3]) for each in expected]
            by_device = {sender.device_id: name for name, sender in self.senders.items()}
            apart = [(by_device[device_id], *row) for device_id, points in found.tables(self.processor.objects)
                     for row in told([points])]  # fmt: skip
            assert sorted(apart) == sorted((name, time, value) for name, _, time, value in expected)
            assert [name for name, *_ in apart] == sorted(name for name, *_ in apart)
            days = aggregates.aggregate(found, self.processor.objects, "P1D", 1000)
            assert sum(day.count for day in days) == len(expected)
        assert self.paged(selection, limit) == [(each[2], each[3]) for each in expected]

    def selected(self, device: str | None, tag: str | None, since: datetime | None, before: datetime | None) -> Selection:
        """The selection of these names; of a tag that is not there, nothing."""
        device_ids = None if device is None else [self.senders[device].device_id]
        with log_transaction(self.processor) as tx:
            account = accounts.find_account(tx, self.account_id)
            tag_ids = None if tag is None else [each.tag_id for each in devices.list_tags(tx, account) if each.name == tag]
        return Selection(device_ids, tag_ids, since, before)

    def paged(self, selection: Selection, limit: int) -> list[tuple[datetime, int]]:
        """The points page by page."""
        pages: list[tuple[datetime, int]] = []
        after = None
        while True:
            since = selection.since if after is None else after[0]
            with log_transaction(self.processor) as tx:
                found = reading.snapshot(tx, self.account_id, replace(selection, since=since))
                rows = reading.page(found, self.processor.objects, after, limit)
            if len(rows) == 0:
                return pages
            pages += told([rows])
            after = reading.position_of(rows, len(rows) - 1)


def at(place: int) -> datetime:
    """A time of the model."""
    return NOW - place * STEP


def at_or_none(place: int | None) -> datetime | None:
    """A time of the model, or none."""
    return None if place is None else at(place)


def is_selected(each: Stored, device: str | None, tag: str | None, since: datetime | None, before: datetime | None) -> bool:
    """Whether a point meets all conditions."""
    return (
        (device is None or each[0] == device)
        and (tag is None or each[1] == tag)
        and (since is None or each[2] >= since)
        and (before is None or each[2] < before)
    )


def told(tables: Any) -> list[tuple[datetime, int]]:
    """Time and value of each point."""
    rows = pa.concat_tables(list(tables) or [pa.table({"time": [], "i": []})], promote_options="permissive")
    return list(zip(rows["time"].to_pylist(), rows["i"].to_pylist(), strict=True))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps, st.lists(looks, min_size=1, max_size=3))
def test_every_answer_is_that_of_a_plain_list(
    processor: ProcessorServices, processor_worker: ProcessorServices, steps: list[Any], looks: list[Any]
) -> None:
    account_id = make_log_account(processor)
    senders = {name: Sender(processor, account_id, name) for name in DEVICES}
    account = Account(processor, processor_worker, account_id, senders, [])
    for name, *words in steps:
        getattr(account, name)(*words)
        account.check((None, None), (None, None), 5)
    account.work()
    for look in looks:
        account.check(*look)
