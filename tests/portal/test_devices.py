"""The page of devices: what an owner sees of them, and that members do not."""

from datetime import timedelta

from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import devices
from tests.factories import NOW, make_account, make_device, transaction
from tests.holders import Holder
from tests.portal.reading import Page


def test_an_owner_sees_every_device(kim: Holder, services: Services) -> None:
    make_device(services, kim.account_id, serial="1234-5678-24", common_name="cosy-1", name="<Pump> & valve", model="Cosy+")
    page = Page(kim.sign_in().get("/portal/devices").text)
    head, row = page.rows()
    assert head[:3] == ["Name", "Serial number", "Model"]
    assert row == ["<Pump> & valve cosy-1", "1234-5678-24", "Cosy+", "1 Jun 2026, 12:00 UTC", "never"]


def test_times_are_written_so_that_machines_read_them_too(kim: Holder, services: Services) -> None:
    make_device(services, kim.account_id)
    page = Page(kim.sign_in().get("/portal/devices").text)
    assert page.one("time").attributes["datetime"] == "2026-06-01T12:00:00Z"


def test_a_device_is_called_by_whatever_it_has(kim: Holder, services: Services) -> None:
    make_device(services, kim.account_id, serial="S-1", common_name=None, name=None)
    page = Page(kim.sign_in().get("/portal/devices").text)
    assert page.rows()[1][:3] == ["S-1", "S-1", "gateway"]


def test_removed_devices_and_those_of_others_are_not_shown(kim: Holder, services: Services) -> None:
    gone = make_device(services, kim.account_id, name="gone").row
    make_device(services, make_account(services).row.account_id, name="foreign")
    with transaction(services) as tx:
        devices.remove_device(tx, kim.account_id, gone.device_id, 1)
    page = Page(kim.sign_in().get("/portal/devices").text)
    assert page.rows() == []
    assert "No device is registered" in page.one("main").text


def test_many_devices_come_page_by_page(kim: Holder, services: Services) -> None:
    for number in range(51):
        make_device(services, kim.account_id, name=f"device {number}")
    first = Page(kim.sign_in().get("/portal/devices").text)
    assert len(first.rows()) == 51  # with the head
    second = Page(kim.get(str(first.one("a", rel="next").attributes["href"])).text)
    assert [row[0].partition(" cosy")[0] for row in second.rows()[1:]] == ["device 50"]
    assert not second.all("a", rel="next")
    assert kim.get("/portal/devices?cursor=bm9uc2Vuc2U").status_code == 404


def test_a_cursor_of_another_list_is_none_of_this(kim: Holder, services: Services) -> None:
    for number in range(51):
        make_device(services, kim.account_id, name=f"device {number}")
    following = str(Page(kim.sign_in().get("/portal/devices").text).one("a", rel="next").attributes["href"])
    assert kim.get(following.replace("/portal/devices", "/portal/access")).status_code == 404


def test_a_member_is_told_that_owners_see_them(alex: Holder) -> None:
    answer = alex.sign_in().get("/portal/devices")
    assert answer.status_code == 403
    assert "An owner of the account can see it." in answer.text


def test_the_look_is_told(kim: Holder, services: Services, owner_engine: Engine) -> None:
    kim.sign_in().get("/portal/devices")
    with owner_engine.connect() as connection:
        told = connection.execute(
            text("SELECT actor_kind, actor_id, account_id FROM audit_events WHERE action = 'device.list'")
        )
        assert [tuple(row) for row in told] == [("owner", str(kim.person_id), kim.account_id)]


def test_the_last_sign_of_a_device_is_shown(kim: Holder, services: Services, owner_engine: Engine) -> None:
    make_device(services, kim.account_id)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE devices SET last_seen_at = :at"), {"at": NOW - timedelta(days=1)})
    assert Page(kim.sign_in().get("/portal/devices").text).rows()[1][4] == "31 May 2026, 12:00 UTC"
