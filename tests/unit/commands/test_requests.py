"""`cloudpriv requests`, `owners`, `restriction`: staff at the command line; what would erase is a dry run at first."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from cloudpriv.api.request_schemas import RequestOut
from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from cloudpriv.controller import accounts
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.ids import new_id
from cloudpriv.rights.code_mails import written
from cloudpriv.rights.requests import KnownRequest
from tests.factories import make_account, make_person, transaction
from tests.requests import receive
from tests.stack import TestDatabase

DAY = timedelta(days=1)
NOTE = ("--note", "passport, seen at the desk")


class Staff:
    """Somebody at the command line of an installation with one account, and Kim in it."""

    def __init__(self, database: TestDatabase, services: Services, owner: Engine) -> None:
        self.database, self.services, self.engine = database, services, owner
        self.account_id = make_account(services).row.account_id
        self.person_id = make_person(services, self.account_id).row.person_id

    def run(self, *words: object) -> Result:
        """One command."""
        environment: dict[str, str | None] = {**self.database.environment(), "CLOUDPRIV_EMBEDDED": None, "COLUMNS": "80"}
        return CliRunner().invoke(main, [str(word) for word in words], env=environment)

    def told(self, *words: object) -> Any:
        """What a command tells as JSON."""
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def letter(self, type_: str, *, days_ago: int = 1, person_id: UUID | None = None, **about: Any) -> KnownRequest:
        """A request by letter whose asker nobody has identified."""
        received = utc_now() - days_ago * DAY
        given = {"channel": "letter", "identity": None, "person_id": person_id, "received_at": received, **about}
        return receive(self.services, self.account_id, type_, now=utc_now(), **given)

    def scalar(self, query: str) -> object:
        """What the database says."""
        with self.engine.connect() as connection:
            return connection.scalar(text(query))


@pytest.fixture
def staff(database: TestDatabase, services: Services, owner_engine: Engine) -> Staff:
    """Staff, and an account."""
    return Staff(database, services, owner_engine)


def test_open_requests_are_listed_and_the_overdue_ones_by_themselves(staff: Staff) -> None:
    old, new = staff.letter("access", days_ago=60).row.request_id, staff.letter("erasure").row.request_id
    assert [row["id"] for row in staff.told("requests", "list")] == [str(old), str(new)]
    assert [row["id"] for row in staff.told("requests", "list", "--overdue")] == [str(old)]
    assert staff.told("requests", "list", "--status", "in_progress") == []
    lines = staff.run("requests", "list").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(str(old) in line and "access" in line and "received" in line for line in lines)


def test_a_letter_is_entered_with_the_day_it_came_in_and_waits_for_who_wrote_it(staff: Staff) -> None:
    came = utc_now().date() - 20 * DAY
    about = ("--person", staff.person_id, "--received-on", came, "--text", "I object.", "--restrict")
    entered = staff.told("requests", "enter", staff.account_id, "--type", "objection", *about)
    assert (entered["channel"], entered["status"], entered["identity"]) == ("letter", "received", None)
    assert (entered["received_at"][:10], entered["text"], entered["restrict"]) == (str(came), "I object.", True)
    assert entered["person_id"] == str(staff.person_id)
    assert staff.scalar("SELECT actor_kind FROM audit_events WHERE action = 'request.create'") == "operator"
    assert staff.scalar("SELECT restricted_at FROM people") is None, "nobody knows who wrote it"
    staff.told("requests", "verify", entered["id"], *NOTE)
    assert staff.scalar("SELECT restricted_at FROM people") is not None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--type", "access", "--received-on", "2999-01-01"), 1),
        (("--type", "access", "--received-on", "yesterday"), 2),
        (("--type", "access"), 2),
        (("--type", "rectification", "--received-on", "2026-01-02"), 1),
        (("--type", "access", "--received-on", "2026-01-02", "--restrict"), 1),
        (("--type", "objection", "--received-on", "2026-01-02", "--text", "x" * 4001), 2),
        (("--type", "objection", "--received-on", "2026-01-02", "--person", str(new_id())), 1),
    ],
)
def test_a_letter_that_cannot_be_is_not_entered(staff: Staff, words: tuple[str, ...], code: int) -> None:
    result = staff.run("requests", "enter", staff.account_id, *words)
    assert (result.exit_code, "Traceback" in result.output) == (code, False), result.output
    assert staff.scalar("SELECT count(*) FROM requests") == 0


def test_a_request_is_shown_with_what_was_asked(staff: Staff) -> None:
    known = staff.letter("objection", details={"text": "I object."})
    shown = staff.told("requests", "show", known.row.request_id)
    assert (shown["text"], shown["status"], shown["identity"]) == ("I object.", "received", None)
    assert staff.scalar("SELECT actor_kind FROM audit_events WHERE action = 'request.read'") == "operator"


def test_an_erasure_is_shown_only_until_it_is_executed(staff: Staff) -> None:
    request_id = staff.letter("erasure", person_id=staff.person_id).row.request_id
    dry = staff.run("requests", "verify", request_id, *NOTE)
    assert (dry.exit_code, "Nothing was done" in dry.stdout, "the person is erased" in dry.stdout) == (0, True, True)
    assert staff.told("requests", "verify", request_id, *NOTE)["dry_run"] is True
    assert staff.scalar("SELECT count(*) FROM people") == 1
    assert staff.scalar("SELECT status FROM requests") == "received"
    done = staff.told("requests", "verify", request_id, *NOTE, "--execute")
    assert (done["status"], done["outcome"], done["person_id"], done["dry_run"]) == ("completed", "erased", None, False)
    assert staff.scalar("SELECT count(*) FROM people") == 0


def test_a_code_identifies_who_it_was_mailed_to_and_nobody_says_so_without_one(staff: Staff) -> None:
    request_id = staff.letter("erasure", person_id=staff.person_id).row.request_id
    made, again = (staff.told("requests", "code", request_id) for _ in range(2))
    assert (made["person_id"], made["mailed"], again["mailed"]) == (str(staff.person_id), True, False)
    assert "still fits" in staff.run("requests", "code", request_id).stdout
    with transaction(staff.services) as tx:
        right = written(accounts.find_account(tx, staff.account_id).key, UUID(made["code_id"]))
    by_code = ("--code-id", made["code_id"], "--code")
    wrong = staff.run("requests", "verify", request_id, *by_code, "AAAA-AAAA", "--execute")
    assert (wrong.exit_code, "does not fit" in wrong.stderr) == (1, True)
    assert staff.scalar("SELECT max(tries) FROM one_time_codes") == 1
    dry = staff.run("requests", "verify", request_id, *by_code, right)
    assert f"--code {right} --code-id {made['code_id']} --execute" in " ".join(dry.stdout.split())
    done = staff.told("requests", "verify", request_id, *by_code, right, "--execute")
    assert (done["status"], done["identity"]["method"]) == ("completed", "code")


def test_the_owner_who_is_named_gets_the_code_for_an_account(staff: Staff) -> None:
    request_id = staff.letter("access").row.request_id
    assert staff.run("requests", "code", request_id).exit_code == 1
    assert staff.told("requests", "code", request_id, "--person", staff.person_id)["person_id"] == str(staff.person_id)


@pytest.mark.parametrize("words", [(), ("--code", "x"), ("--code-id", str(new_id())), (*NOTE, "--code", "x")])
def test_half_a_proof_of_who_asked_is_wrong_usage(staff: Staff, words: tuple[str, ...]) -> None:
    assert staff.run("requests", "verify", staff.account_id, *words).exit_code == 2


def test_what_erases_nothing_needs_no_confirmation(staff: Staff) -> None:
    request_id = staff.letter("restriction").row.request_id
    done = staff.told("requests", "verify", request_id, *NOTE)
    assert (done["status"], done["identity"]["method"], done["identity_note"]) == ("completed", "documents", NOTE[1])
    assert staff.scalar("SELECT status FROM accounts") == "restricted"
    announced = staff.run("restriction", "lift", "--ground", "reason_ended", staff.account_id).stdout
    assert announced.startswith("Restricted until ")
    assert staff.run("restriction", "show", staff.account_id).stdout == announced
    early = staff.run("restriction", "lift", "--ground", "reason_ended", "--told", staff.account_id)
    assert early.exit_code != 0, "nobody is told before its time"
    assert staff.run("restriction", "show", staff.account_id).stdout == announced
    assert (
        staff.run("restriction", "show", staff.account_id, "--person", staff.person_id).stdout
        == "There is no restriction.\n"
    )
    assert staff.run("restriction", "impose", staff.account_id, "--person", staff.person_id).stdout == "Restricted.\n"
    assert staff.scalar("SELECT restricted_at IS NOT NULL FROM people") is True


def test_an_objection_is_decided_either_way(staff: Staff) -> None:
    first, second = (staff.letter("objection", details={"text": said}).row.request_id for said in ("no", "never"))
    for each in (first, second):
        assert staff.told("requests", "verify", each, *NOTE)["status"] == "in_progress"
    refusal = ("--refuse", "--ground", "compelling_grounds", "--reason", "The courts need it.")
    refused = staff.told("requests", "decide", first, *refusal)
    assert (refused["status"], refused["ground"], refused["reason"]) == ("refused", "compelling_grounds", refusal[-1])
    granted = staff.told("requests", "decide", second, "--grant")
    assert (granted["status"], granted["outcome"]) == ("completed", "objection_upheld")


@pytest.mark.parametrize(
    "words", [(), ("--refuse",), ("--refuse", "--ground", "excessive"), ("--grant", "--reason", "x"),
              ("--refuse", "--ground", "excessive", "--reason", "x", "--outcome", "y")]
)  # fmt: skip
def test_half_a_decision_is_wrong_usage(staff: Staff, words: tuple[str, ...]) -> None:
    assert staff.run("requests", "decide", staff.account_id, *words).exit_code == 2


def test_an_answer_is_put_off_once_and_a_request_withdrawn(staff: Staff) -> None:
    request_id = staff.letter("access").row.request_id
    assert staff.told("requests", "extend", request_id, "--reason", "Many")["extension_reason"] == "Many"
    again = staff.run("requests", "extend", request_id, "--reason", "Many")
    assert (again.exit_code, len(again.stderr.splitlines())) == (1, 1)
    assert staff.told("requests", "withdraw", request_id)["status"] == "withdrawn"
    assert staff.run("requests", "restart", request_id).exit_code == 1


def test_an_owner_is_replaced_after_a_check_and_that_is_stopped(staff: Staff) -> None:
    with staff.engine.begin() as connection:
        connection.execute(text("UPDATE people SET role = 'member'"))
    checked = ("--documents", "register of companies", "--note", "called back")
    begun = staff.told("owners", "replace", staff.account_id, staff.person_id, *checked)
    assert (begun["status"], begun["evidence"]["note"]) == ("waiting", "called back")
    assert begun["id"] in staff.run("owners", "list", staff.account_id).stdout
    assert staff.run("owners", "stop", staff.account_id, begun["id"]).stdout == "Stopped.\n"
    assert [row["status"] for row in staff.told("owners", "list", staff.account_id)] == ["stopped"]


def test_a_request_is_shown_in_the_order_of_the_api(staff: Staff) -> None:
    shown = staff.told("requests", "show", staff.letter("access").row.request_id)
    assert list(shown) == list(RequestOut().fields)
