"""The pages of exports: started with the password, followed, fetched through a short link of one session."""

import zipfile
from io import BytesIO
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from cloudpriv.bootstrap import Services
from cloudpriv.platform.ids import new_id
from tests.exports import fail_exports, run
from tests.factories import transaction
from tests.holders import Holder, Time
from tests.portal.reading import Page
from tests.requests import member
from tests.stack import every_row

LIST, NEW = "/portal/exports", "/portal/exports/new"


def start(holder: Holder, **form: str) -> UUID:
    """Start an export; its id."""
    answer = holder.post(NEW, **form)
    assert answer.status_code == 303, answer.text
    return UUID(str(answer.location).rpartition("/")[2])


def page_of(export_id: UUID) -> str:
    return f"{LIST}/{export_id}"


def link_to(holder: Holder, export_id: UUID) -> str:
    """The short link to a ready archive."""
    answer = holder.post(page_of(export_id))
    assert answer.status_code == 303, answer.text
    return str(answer.location)


def actions(owner_engine: Engine) -> list[str]:
    with owner_engine.connect() as connection:
        return list(connection.scalars(text("SELECT action FROM audit_events ORDER BY event_id")))


def members(answer: TestResponse) -> list[str]:
    return zipfile.ZipFile(BytesIO(answer.data)).namelist()


def test_an_export_is_started_followed_and_fetched(kim: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in(), language="sv")
    waiting = Page(kim.get(page_of(export_id)).text)
    assert waiting.one("progress").attributes["value"] == "0"
    assert waiting.words("h1") == "Your export is being made"
    assert [each.text for each in waiting.all("a", href=page_of(export_id))] == ["Refresh"]
    run(worker_services, export_id, time())
    ready = Page(kim.get(page_of(export_id)).text)
    assert ready.words("h1") == "Your export is ready"
    assert "Svenska" in ready.one("main").text
    answer = kim.get(link_to(kim, export_id))
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{export_id}.zip"'
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert answer.headers["Cache-Control"] == "no-store"
    assert {"index.html", "manifest.json"} <= set(members(answer))


def test_the_archive_comes_in_pieces(kim: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    answer = kim.get(link_to(kim, export_id))
    assert answer.is_streamed


def test_starting_and_fetching_ask_for_the_password_again(kim: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    time.pass_by(minutes=6)
    assert kim.get(NEW).location == "/portal/password?next=%2Fportal%2Fexports%2Fnew"
    asked = kim.post(page_of(export_id))
    assert (asked.status_code, asked.location) == (303, f"/portal/password?next=%2Fportal%2Fexports%2F{export_id}")
    kim.post("/portal/password", password=kim.password)
    assert link_to(kim, export_id).startswith("/portal/download/")


def test_a_link_is_good_for_five_minutes(kim: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    link = link_to(kim, export_id)
    time.pass_by(minutes=4, seconds=59)
    assert kim.get(link).status_code == 200
    time.pass_by(seconds=1)
    late = kim.get(link)
    assert (late.status_code, urlsplit(str(late.location)).path) == (303, page_of(export_id))
    assert "good for five minutes and is over" in kim.get(str(late.location)).text


def test_a_link_opens_nothing_in_another_session(kim: Holder, alex: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    link = link_to(kim, export_id)
    assert kim.elsewhere().sign_in().get(link).status_code == 404
    assert alex.sign_in().get(link).status_code == 404
    assert kim.elsewhere().get(link).status_code == 303
    kim.post("/portal/sign-out", LIST)
    assert str(kim.get(link).location).startswith("/portal/sign-in")


def test_a_link_that_we_did_not_make_leads_nowhere(kim: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    path, _, token = link_to(kim, export_id).rpartition("/")
    for changed in (token[:-1], "B" + token[1:], token[:-1] + "!", token + "AAAA", "x", "é", token[:30] + "A" + token[31:]):
        assert changed == token or kim.get(f"{path}/{changed}").status_code == 404


def test_members_take_along_what_is_theirs_alone(
    kim: Holder, alex: Holder, services: Services, worker_services: Services, time: Time
) -> None:
    of_account = start(kim.sign_in())
    own = start(alex.sign_in())
    assert own != of_account
    assert alex.get(page_of(of_account)).status_code == 404
    assert kim.get(page_of(own)).status_code == 404
    assert kim.post(page_of(own), LIST, csrf_token=kim.token(NEW)).status_code == 404
    assert str(own) not in kim.get(LIST).text
    assert alex.post(page_of(of_account), LIST, csrf_token=alex.token(NEW)).status_code == 404
    assert len(Page(alex.get(LIST).text).rows()) == 2
    assert "Only yours" in alex.get(LIST).text
    with transaction(services, member(alex.account_id, alex.person_id)) as tx:
        assert tx.session.execute(text("SELECT count(*) FROM exports WHERE scope = 'person'")).scalar() == 1
    assert alex.post(NEW, about="account").status_code == 403


def test_an_owner_may_take_the_account_or_only_the_own_data(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in()
    start(kim, about="account")
    start(kim, about="person")
    with owner_engine.connect() as connection:
        assert set(connection.scalars(text("SELECT scope FROM exports"))) == {"account", "person"}
    assert [row[1] for row in Page(kim.get(LIST).text).rows()[1:]] == ["Only yours", "The account"]


def test_who_asks_twice_is_led_to_the_export_that_runs(kim: Holder) -> None:
    kim.sign_in()
    assert start(kim) == start(kim)
    assert len(Page(kim.get(LIST).text).rows()) == 2


def test_the_page_says_that_an_export_failed_and_the_next_one_begins(kim: Holder, owner_engine: Engine) -> None:
    export_id = start(kim.sign_in())
    fail_exports(owner_engine)
    page = Page(kim.get(page_of(export_id)).text)
    assert page.words("h1") == "The export failed"
    assert kim.post(page_of(export_id), NEW).location == page_of(export_id)
    assert start(kim) != export_id


def test_the_page_says_when_an_archive_was_erased(kim: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    time.pass_by(days=8)
    kim.sign_in()
    page = Page(kim.get(page_of(export_id)).text)
    assert page.words("h1") == "The archive was erased"
    assert "kept for 7 days" in page.one("main").text
    assert kim.post(page_of(export_id), NEW).location == page_of(export_id)


def test_a_page_that_waits_is_told_the_percent_and_the_end(kim: Holder, worker_services: Services, time: Time) -> None:
    export_id = start(kim.sign_in())
    bar = Page(kim.get(page_of(export_id)).text).one("progress")
    address = str(bar.attributes["data-progress"])
    assert kim.get(address).get_json() == {"progress": 0, "ended": False}
    run(worker_services, export_id, time())
    assert kim.get(address).get_json() == {"progress": 100, "ended": True}
    assert kim.get(f"{LIST}/{new_id()}/progress").status_code == 404
    assert kim.elsewhere().get(address).status_code == 303


def test_waiting_keeps_no_session_alive_and_fills_no_trail(kim: Holder, owner_engine: Engine, time: Time) -> None:
    export_id = start(kim.sign_in())
    kim.get(page_of(export_id))
    before = len(actions(owner_engine))
    for _ in range(10):
        time.pass_by(minutes=3)
        answer = kim.get(f"{page_of(export_id)}/progress")
    assert answer.status_code == 303
    assert len(actions(owner_engine)) == before


def test_looking_and_fetching_leave_events(kim: Holder, worker_services: Services, owner_engine: Engine, time: Time) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    kim.get(link_to(kim, export_id))
    assert {"export.create", "export.read", "export.download"} <= set(actions(owner_engine))


def test_a_list_without_exports_says_so_and_where_log_data_is(kim: Holder) -> None:
    page = kim.sign_in().get(LIST).text
    assert "There has been no export yet" in page
    assert "log data API" in page


def test_what_is_made_for_a_link_is_stored_nowhere(
    kim: Holder, worker_services: Services, owner_engine: Engine, time: Time
) -> None:
    export_id = start(kim.sign_in())
    run(worker_services, export_id, time())
    token = link_to(kim, export_id).rpartition("/")[2]
    assert token not in str(every_row(owner_engine))


def test_a_restricted_account_is_still_exported(kim: Holder, owner_engine: Engine) -> None:
    kim.sign_in()
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'restricted'"))
    assert kim.get(page_of(start(kim))).status_code == 200
