"""The command line as an operator uses it: what it prints, and how it ends."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine

from cloudpriv import database as schema
from cloudpriv.audit import events
from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.retention import approval
from tests import factories
from tests.purges import clear_the_way
from tests.stack import TestDatabase

LONG_AGO = datetime(2018, 8, 1, tzinfo=UTC)


class Operator:
    """Somebody at a terminal whose environment names this test's database."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment: dict[str, str | None] = {**environment, "CLOUDPRIV_EMBEDDED": None}

    def __call__(self, *words: str, **environment: str | None) -> Result:
        """One command."""
        return CliRunner().invoke(main, words, env={**self.environment, **environment})

    def json(self, *words: str) -> Any:
        """What a command that ends well prints as JSON."""
        result = self(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def operator(database: TestDatabase) -> Operator:
    """An operator of this test's database."""
    return Operator(database.environment())


def test_the_schema_is_checked_and_brought_up_to_date(operator: Operator, database: TestDatabase) -> None:
    assert operator.json("db", "check")["differences"] == "none"
    engine = create_engine(database.url("migration"))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts ADD COLUMN unclassified text")
    engine.dispose()
    failed = operator("db", "check")
    assert failed.exit_code == 1
    assert "unclassified" in failed.stdout
    assert operator.json("db", "upgrade") == {"revision": schema.head()}


def test_each_planes_schema_is_checked_and_brought_up_to_date(operator: Operator, database: TestDatabase) -> None:
    newest, of_log_data = schema.head(), schema.head("processor")
    assert operator.json("db", "upgrade", "--plane", "processor") == {"processor_revision": of_log_data}
    both = operator.json("db", "upgrade", "--plane", "all")
    assert both == {"revision": newest, "processor_revision": of_log_data}
    engine = database.engine("migration", "processor")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE log_devices ADD COLUMN unclassified text")
    engine.dispose()
    assert operator("db", "check").exit_code == 0, "the other plane's"
    failed = operator("db", "check", "--plane", "all")
    assert failed.exit_code == 1
    assert "of the processor plane" in failed.stderr
    assert "unclassified" in failed.stdout


@pytest.mark.parametrize("words", [["serve"], ["worker", "--burst"], ["schedule"]])
def test_nothing_of_log_data_starts_on_an_old_schema_or_without_its_settings(
    database: TestDatabase, words: list[str]
) -> None:
    operator, of_log_data = Operator(database.environment("processor")), [*words, "--plane", "processor"]
    engine = database.engine("migration", "processor")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    engine.dispose()
    old = operator(*of_log_data)
    assert (old.exit_code, len(old.stderr.splitlines())) == (1, 1)
    assert "cloudpriv db upgrade --plane processor" in old.stderr
    unset = operator(*of_log_data, CLOUDPRIV_PROCESSOR_S3_BUCKET=None)
    assert (unset.exit_code, len(unset.stderr.splitlines())) == (1, 1)
    assert "CLOUDPRIV_PROCESSOR_S3_BUCKET" in unset.stderr


def test_a_client_is_made_listed_and_revoked_and_its_secret_shown_once(operator: Operator) -> None:
    made = operator.json("client", "create", "backend", "--service", "talk2m", "--scope", "accounts:read traffic:write")
    assert made["scope"] == "accounts:read traffic:write"
    listed = operator("client", "list", "--json")
    assert [each["client_id"] for each in json.loads(listed.stdout)] == [made["client_id"]]
    assert made["client_secret"] not in listed.stdout
    assert operator("client", "revoke", made["client_id"]).exit_code == 0
    again = operator("client", "revoke", made["client_id"])
    assert (again.exit_code, len(again.stderr.splitlines())) == (1, 1)
    assert "client list" in operator("client", "revoke", "backend").stderr, "a name is no id"


def test_the_chosen_stack_wins_over_servers_that_the_environment_names(operator: Operator, tmp_path: Path) -> None:
    operator.json("client", "create", "backend", "--service", "talk2m", "--scope", "all")
    folder = str(tmp_path / "stack")
    assert operator("--embedded", folder, "db", "upgrade").exit_code == 0
    chosen = operator("--embedded", folder, "client", "list", "--json")
    assert (chosen.exit_code, json.loads(chosen.stdout)) == (0, [])
    assert len(operator.json("client", "list")) == 1, "and they are named again after it"


def test_a_purge_is_a_dry_run_unless_told_to_execute(operator: Operator, services: Services, owner_engine: Engine) -> None:
    due = factories.make_account(services, created_at=LONG_AGO).row.account_id
    factories.make_account(services)
    clear_the_way(services, owner_engine, services.clock())
    (plan,) = operator.json("purge", "plan")
    assert ([each["account_id"] for each in plan["accounts"]], plan["status"]) == ([str(due)], "proposed")
    assert operator("purge", "run", plan["plan"]).exit_code == 0
    assert [each["account_id"] for each in operator.json("purge", "plan")[0]["accounts"]] == [str(due)]
    assert operator.json("purge", "why", str(due))[0]["verdict"] == "due"
    (purged,) = operator.json("purge", "run", plan["plan"], "--execute")
    assert (purged["status"], purged["accounts"], len(purged["erased"])) == ("approved", [], 1)
    assert operator.json("purge", "plan") == []
    again = operator("purge", "run", plan["plan"], "--execute")
    assert (again.exit_code, "No account is left to erase." in again.stdout) == (0, True)
    assert operator("purge", "why", str(due)).exit_code == 1


def test_what_purge_prints_fits_in_eighty_columns_with_whole_ids_and_the_next_step(
    operator: Operator, services: Services, owner_engine: Engine
) -> None:
    due = factories.make_account(services, created_at=LONG_AGO).row.account_id
    clear_the_way(services, owner_engine, services.clock())
    told = operator("purge", "plan", COLUMNS="80").stdout
    (plan,) = operator.json("purge", "list")
    assert f"cloudpriv purge run {plan['plan']} --execute" in told.splitlines()[-1]
    for shown in (told, operator("purge", "list", COLUMNS="80").stdout, operator("purge", "why", str(due)).stdout):
        assert max(len(line) for line in shown.splitlines() if not line.startswith("Nothing")) <= 80
        assert plan["plan"] in shown or str(due) in shown
    done = operator("purge", "run", plan["plan"], "--execute").stdout
    assert "--execute" not in done, "nothing is left to erase"


def test_a_plan_that_the_guards_stop_waits_for_somebody_else(
    operator: Operator, services: Services, owner_engine: Engine
) -> None:
    factories.make_account(services, created_at=LONG_AGO)
    (plan,) = operator.json("purge", "plan")
    assert {finding["guard"] for finding in plan["findings"]} == {"no_traffic", "notice_pending"}
    stopped = operator("purge", "run", plan["plan"], "--execute")
    assert (stopped.exit_code, "waiting" in stopped.stdout) == (1, True)
    assert f"cloudpriv purge approve {plan['plan']}" in stopped.stderr
    assert "no traffic has been received anywhere ever" in stopped.stdout
    mine = operator("purge", "approve", plan["plan"])
    assert (mine.exit_code, "somebody other" in mine.stderr) == (1, True)
    with factories.transaction(services, factories.BOSS, services.clock()) as tx:
        approval.approve(tx, services.terms(tx), UUID(plan["plan"]))
    (done,) = operator.json("purge", "run", plan["plan"], "--execute")
    assert (done["approved_by"], len(done["erased"])) == (factories.BOSS.name, 1)
    assert [each["status"] for each in operator.json("purge", "list")] == ["approved"]


def test_an_account_is_exported_to_a_file(operator: Operator, services: Services, tmp_path: Path) -> None:
    account = factories.make_account(services).row.account_id
    target = tmp_path / "copy.zip"
    told = operator.json("export", str(account), "--output", str(target))
    assert told["size"] == target.stat().st_size
    assert "manifest.json" in zipfile.ZipFile(target).namelist()
    assert target.stat().st_mode & 0o777 == 0o600, "it holds personal data in the clear"
    with services.controller.transaction(OPERATOR, services.clock()) as tx:
        actions = [event.action for event in events.list_events(tx, account, after=None, limit=100)]
    assert "export.download" in actions
    stranger = operator("export", "01a00000-0000-7000-8000-000000000000", "--output", str(target))
    assert (stranger.exit_code, len(stranger.stderr.splitlines())) == (1, 1)


def test_the_policy_and_the_api_describe_themselves(operator: Operator, tmp_path: Path) -> None:
    assert operator.json("policy", "show")["version"] == "2023-03-30"
    assert "molntjänster" in operator("policy", "show", "--language", "sv").stdout.lower()
    document = tmp_path / "openapi.yaml"
    document.write_text(operator("openapi").stdout)
    assert operator("openapi", "--check", str(document)).exit_code == 0
    document.write_text(document.read_text() + "\n")
    stale = operator("openapi", "--check", str(document))
    assert stale.exit_code == 1
    assert "not in step" in stale.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CLOUDPRIV_WORKER_DATABASE_URL", None, "CLOUDPRIV_WORKER_DATABASE_URL"),
        ("CLOUDPRIV_WORKER_DATABASE_URL", "mysql://x", "postgresql+psycopg://"),
        ("CLOUDPRIV_KEYRING_FILE", "/no/such/file", "CLOUDPRIV_KEYRING_FILE"),
        ("CLOUDPRIV_WEB_THREADS", "many", "CLOUDPRIV_WEB_THREADS"),
        ("CLOUDPRIV_RATE_LIMIT", "often", "CLOUDPRIV_RATE_LIMIT"),
        ("CLOUDPRIV_BIND", "8080", "CLOUDPRIV_BIND"),
        ("CLOUDPRIV_LOG_LEVEL", "LOUD", "CLOUDPRIV_LOG_LEVEL"),
    ],
)
def test_a_missing_or_malformed_setting_is_one_clear_line(
    operator: Operator, variable: str, value: str | None, said: str
) -> None:
    failed = operator("purge", "plan", **{variable: value})
    assert failed.exit_code == 1
    assert len(failed.stderr.splitlines()) == 1
    assert said in failed.stderr
    assert "--embedded DIR" in failed.stderr


def test_what_is_not_there_is_one_line_that_blames_no_lack_of_rights(operator: Operator) -> None:
    nobody = operator("purge", "why", "01a00000-0000-7000-8000-000000000000")
    assert (nobody.exit_code, nobody.stderr) == (1, "cloudpriv: There is nothing with that id.\n")


def test_a_database_that_is_away_or_old_is_one_clear_line(operator: Operator, database: TestDatabase) -> None:
    away = operator("purge", "plan", CLOUDPRIV_WORKER_DATABASE_URL="postgresql+psycopg://a:b@/x?host=/nowhere")
    assert (away.exit_code, away.stderr) == (1, "cloudpriv: The database does not answer.\n")
    engine = create_engine(database.url("migration"))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    engine.dispose()
    old = operator("purge", "plan")
    assert old.exit_code == 1
    assert "cloudpriv db upgrade" in old.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["ingest"],
        ["export", "no-id"],
        ["purge", "replay", "--execute"],
        ["client", "create", "x", "--service", "other", "--scope", "all"],
        ["client", "create", "x", "--service", "talk2m", "--scope", "no:such"],
        ["client", "create", "x", "--service", "talk2m", "--scope", ""],
    ],
)
def test_wrong_usage_ends_with_two(operator: Operator, words: list[str]) -> None:
    assert operator(*words).exit_code == 2


def test_an_api_that_is_away_is_one_clear_line(operator: Operator, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a\n1\n")
    words = ["ingest", str(rows), "--map", "nemea-siot", "--url", "http://127.0.0.1:9", "--client-id", "x"]
    failed = operator(*words, CLOUDPRIV_CLIENT_SECRET="x")
    assert failed.exit_code == 1
    assert len(failed.stderr.splitlines()) == 1


def test_a_mistyped_folder_answers_nothing_and_a_foreign_one_is_left_alone(operator: Operator, tmp_path: Path) -> None:
    for words in (["purge", "plan"], ["client", "list"], ["db", "check"]):
        mistyped = operator("--embedded", str(tmp_path / "nosuch"), *words)
        assert (mistyped.exit_code, len(mistyped.stderr.splitlines())) == (1, 1)
        assert "no embedded stack" in mistyped.stderr
    assert not (tmp_path / "nosuch").exists()
    (tmp_path / "mine.txt").write_text("mine")
    foreign = operator("--embedded", str(tmp_path), "db", "upgrade")
    assert foreign.exit_code == 1
    assert "not empty" in foreign.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]
