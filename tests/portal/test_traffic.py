"""The page of traffic: sessions by cursor, narrowed by device and day, with their volume by month."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import devices, traffic
from cloudpriv.controller.traffic_records import Batch, Record
from cloudpriv.rights.erasure import erase_person
from tests.factories import BACKEND, NOW, make_account, make_device, transaction
from tests.holders import Holder
from tests.portal.reading import Page


def connect(services: Services, account_id: UUID, device_id: UUID, *starts: datetime, **members: Any) -> None:
    """Sessions of a device of half an hour each."""
    given = {
        "bytes_from_device": 2_000_000,
        "bytes_to_device": 500_000,
        "protocol": "openvpn",
        "remote_address": "192.0.2.7",
    }
    records = [
        Record(
            account=str(account_id),
            device=str(device_id),
            session=f"{device_id} {start}",
            source="vpn-1",
            started_at=start,
            **{**given, "ended_at": start + timedelta(minutes=30), **members},
        )
        for start in starts
    ]
    with transaction(services, BACKEND) as tx:
        assert traffic.ingest(tx, Batch(records, range(len(records)))).accepted == len(records)


def rows(holder: Holder, path: str = "/portal/traffic") -> list[list[str]]:
    """The sessions of a page as they are read."""
    answer = holder.get(path)
    assert answer.status_code == 200
    return [row for row in Page(answer.text).rows() if len(row) == 7][1:]


def test_an_owner_sees_who_used_which_device_when_and_how_much(kim: Holder, alex: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id, name="North pump").row.device_id
    connect(services, kim.account_id, device, NOW - timedelta(days=2), username="kim")
    connect(services, kim.account_id, device, NOW - timedelta(days=1), username="alex")
    connect(services, kim.account_id, device, NOW - timedelta(days=3), bytes_from_device=999, protocol=None)
    assert rows(kim.sign_in()) == [
        ["31 May 2026, 12:00 UTC", "North pump", "30 mins", "2 MB", "500 kB", "alex", "192.0.2.7 openvpn"],
        ["30 May 2026, 12:00 UTC", "North pump", "30 mins", "2 MB", "500 kB", "You", "192.0.2.7 openvpn"],
        ["29 May 2026, 12:00 UTC", "North pump", "30 mins", "999 bytes", "500 kB", "none", "192.0.2.7"],
    ]


def test_a_member_sees_their_own_sessions_alone(kim: Holder, alex: Holder, services: Services) -> None:
    used = make_device(services, kim.account_id, name="used").row.device_id
    unused = make_device(services, kim.account_id, name="unused").row.device_id
    connect(services, kim.account_id, used, NOW - timedelta(days=1), username="alex")
    connect(services, kim.account_id, used, NOW - timedelta(days=2), username="kim", bytes_from_device=10**12)
    connect(services, kim.account_id, unused, NOW - timedelta(days=3))
    assert [row[1] for row in rows(alex.sign_in())] == ["used"]
    page = Page(alex.get("/portal/traffic").text)
    assert [each.text for each in page.all("option")] == ["All devices", "used"]
    assert "TB" not in page.one("main").text
    chosen = f"/portal/traffic?device={unused}"
    assert rows(alex, chosen) == []
    assert [each.text for each in Page(alex.get(chosen).text).all("option")] == ["All devices"], "its name is not told"


def test_an_open_session_says_so(kim: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id).row.device_id
    connect(services, kim.account_id, device, NOW - timedelta(days=1), ended_at=None)
    assert rows(kim.sign_in())[0][2] == "still open"


@pytest.mark.parametrize("name", ["endpoint", "_method", "_external", "_scheme", "_anchor", "values"])
def test_the_address_of_the_next_page_is_this_pages_whatever_else_was_asked(
    kim: Holder, services: Services, name: str
) -> None:
    device = make_device(services, kim.account_id).row.device_id
    connect(services, kim.account_id, device, *(NOW - timedelta(days=1, minutes=minute) for minute in range(60)))
    answer = kim.sign_in().get(f"/portal/traffic?{name}=a%26b")
    assert answer.status_code == 200
    [following] = Page(answer.text).all("a", rel="next")
    assert (following.attributes["href"] or "").startswith(f"/portal/traffic?{name}=a%26b&cursor=")


def test_sessions_come_page_by_page_latest_first(kim: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id).row.device_id
    starts = [NOW - timedelta(days=1, minutes=minute) for minute in range(120)]
    connect(services, kim.account_id, device, *starts)
    kim.sign_in()
    seen, path, pages = [], "/portal/traffic?from=2026-05-01", 0
    while path:
        answer = kim.get(path)
        assert answer.status_code == 200, answer.text
        page = Page(answer.text)
        seen += [str(each.attributes["datetime"]) for each in page.all("time")]
        assert bool(page.all("svg", role="img")) == (pages == 0)
        following = page.all("a", rel="next")
        path, pages = str(following[0].attributes["href"]) if following else "", pages + 1
    assert seen == [f"{start:%Y-%m-%dT%H:%M:%SZ}" for start in starts]
    assert pages == 3


def test_sessions_are_narrowed_by_device_and_day(kim: Holder, services: Services) -> None:
    north = make_device(services, kim.account_id, name="north").row.device_id
    south = make_device(services, kim.account_id, name="south").row.device_id
    at = [datetime(2026, 5, day, hour, tzinfo=UTC) for day, hour in ((9, 23), (10, 0), (11, 23), (12, 0))]
    connect(services, kim.account_id, north, *at)
    connect(services, kim.account_id, south, at[1])
    kim.sign_in()
    assert {row[1] for row in rows(kim, f"/portal/traffic?device={south}&from=&to=")} == {"south"}
    found = rows(kim, f"/portal/traffic?device={north}&from=2026-05-10&to=2026-05-11")
    assert [row[0] for row in found] == ["11 May 2026, 23:00 UTC", "10 May 2026, 00:00 UTC"]
    assert [row[0][:6] for row in rows(kim, "/portal/traffic?from=2026-05-12")] == ["12 May"]


def test_what_was_asked_for_stays_in_the_form(kim: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id, name="north").row.device_id
    page = Page(kim.sign_in().get(f"/portal/traffic?device={device}&from=2026-05-10&to=2026-05-11").text)
    assert [each.text for each in page.all("option") if "selected" in each.attributes] == ["north"]
    assert page.one("input", id="f-from").attributes["value"] == "2026-05-10"
    assert "No connection fits" in page.one("main").text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("from=0001-01-01", "from"),
        ("to=9999-12-31", "to"),
        ("from=2026-05-02&to=2026-05-01", "to"),
        ("device=pump", "device"),
    ],
)
def test_what_cannot_be_asked_for_is_said_at_its_field(kim: Holder, services: Services, query: str, field: str) -> None:
    answer = kim.sign_in().get(f"/portal/traffic?{query}")
    assert answer.status_code == 422
    page = Page(answer.text)
    wrong = [each.attributes["name"] for each in page.elements if each.attributes.get("aria-invalid") == "true"]
    assert wrong == [field]
    assert page.words("p", id=f"e-f-{field}")


def test_a_cursor_of_ours_alone_leads_on(kim: Holder) -> None:
    assert kim.sign_in().get("/portal/traffic?cursor=bm9uc2Vuc2U").status_code == 404


def test_the_chart_adds_up_by_month_and_leaves_none_out(kim: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id).row.device_id
    connect(services, kim.account_id, device, datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    connect(services, kim.account_id, device, datetime(2026, 5, 31, 23, tzinfo=UTC))
    page = Page(kim.sign_in().get("/portal/traffic").text)
    months = [row for row in page.rows() if len(row) == 4][1:]
    assert months == [
        ["May 2026", "2", "4 MB", "1 MB"],
        ["Apr 2026", "0", "0 bytes", "0 bytes"],
        ["Mar 2026", "0", "0 bytes", "0 bytes"],
        ["Feb 2026", "1", "2 MB", "500 kB"],
    ]
    assert len(page.all("rect", class_="from")) == 2 + 1  # with the legend's
    assert page.one("title", id="chart-title").text == "Volume by month"
    assert "from Feb 2026 to May 2026" in page.one("desc", id="chart-text").text


def test_the_chart_is_of_the_last_year_unless_other_days_are_asked_for(kim: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id).row.device_id
    connect(services, kim.account_id, device, datetime(2025, 6, 30, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
    connect(services, kim.account_id, device, datetime(2026, 5, 31, tzinfo=UTC))
    kim.sign_in()
    months = [row[0] for row in Page(kim.get("/portal/traffic").text).rows() if len(row) == 4][1:]
    assert (months[0], months[-1], len(months)) == ("May 2026", "Jul 2025", 11)
    asked = Page(kim.get("/portal/traffic?from=2020-01-01").text)
    assert [row[0] for row in asked.rows() if len(row) == 4][-1] == "Jun 2025"
    narrowed = Page(kim.get("/portal/traffic?to=2025-12-31").text)
    assert [row[0] for row in narrowed.rows() if len(row) == 4][1:] == ["Jul 2025", "Jun 2025"]


def test_a_chart_that_a_phone_does_not_show_whole_begins_at_its_end(kim: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id).row.device_id
    connect(services, kim.account_id, device, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    kim.sign_in()
    assert (
        Page(kim.get("/portal/traffic").text).one("div", role="region", tabindex="0", aria_label="Chart").attributes["class"]
        == "drawing"
    )
    connect(services, kim.account_id, device, datetime(2026, 2, 1, tzinfo=UTC))
    page = Page(kim.get("/portal/traffic").text)
    assert page.one("div", role="region", tabindex="0", aria_label="Chart").attributes["class"] == "drawing from-end"


def test_the_page_says_that_the_chart_is_of_a_year_and_where_the_rest_is(kim: Holder, services: Services) -> None:
    connect(services, kim.account_id, make_device(services, kim.account_id).row.device_id, datetime(2026, 5, 1, tzinfo=UTC))
    told = "Only the latest 12 months are shown. For earlier ones choose a first day; all of them are in the archive."
    page = Page(kim.sign_in().get("/portal/traffic").text)
    assert told in page.words("section", aria_labelledby="by-month")
    assert page.all("a", href="/portal/exports")
    assert told not in kim.get("/portal/traffic?from=2020-01-01").text


def test_a_removed_device_keeps_its_name_for_its_traffic(kim: Holder, services: Services) -> None:
    gone = make_device(services, kim.account_id, name="gone").row.device_id
    connect(services, kim.account_id, gone, NOW - timedelta(days=1))
    with transaction(services) as tx:
        devices.remove_device(tx, kim.account_id, gone, 1)
    assert [row[1] for row in rows(kim.sign_in(), f"/portal/traffic?device={gone}")] == ["gone"]


def test_traffic_of_an_erased_person_names_nobody(kim: Holder, alex: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id).row.device_id
    connect(services, kim.account_id, device, NOW - timedelta(days=1), username="alex")
    with transaction(services) as tx:
        erase_person(tx, kim.account_id, alex.person_id, 1)
    assert rows(kim.sign_in())[0][5] == "none"


def test_a_device_of_another_account_is_not_named(kim: Holder, services: Services) -> None:
    foreign = make_device(services, make_account(services).row.account_id, name="canary").row.device_id
    answer = kim.sign_in().get(f"/portal/traffic?device={foreign}")
    assert answer.status_code == 200
    assert "canary" not in answer.text


def test_without_traffic_the_page_says_so(kim: Holder) -> None:
    page = Page(kim.sign_in().get("/portal/traffic").text)
    assert "There has been no traffic so far." in page.one("main").text
    assert not page.all("svg", role="img")


def test_the_look_is_told(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in().get("/portal/traffic")
    with owner_engine.connect() as connection:
        query = text("SELECT count(*) FROM audit_events WHERE action = 'traffic.read' AND actor_id = :id")
        assert connection.scalar(query, {"id": str(kim.person_id)}) >= 1


def test_what_is_sent_as_a_name_is_shown_as_text(kim: Holder, services: Services) -> None:
    device = make_device(services, kim.account_id, name="<script>alert(1)</script>").row.device_id
    connect(services, kim.account_id, device, NOW - timedelta(days=1), protocol="<i>x</i>")
    answer = kim.sign_in().get("/portal/traffic")
    assert "<script>alert" not in answer.text
    assert "<i>" not in answer.text
