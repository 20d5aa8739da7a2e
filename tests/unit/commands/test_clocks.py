"""`cloudpriv retention show`: every rule with its period, what is due, and when it was last seen to, in 80 columns."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from cloudpriv.platform.clock import utc_now
from cloudpriv.policy.register import load
from tests.factories import make_account, transaction
from tests.purges import LONG_AGO
from tests.stack import TestDatabase
from workers.schedule import Schedule


def show(database: TestDatabase, *words: str) -> Result:
    environment: dict[str, str | None] = {**database.environment(), "CLOUDPRIV_EMBEDDED": None, "COLUMNS": "80"}
    return CliRunner().invoke(main, ["retention", "show", *words], env=environment)


@pytest.fixture
def at_work(database: TestDatabase, services: Services, worker_services: Services) -> TestDatabase:
    """An installation with one account due and one mail that a schedule has not come to yet."""
    Schedule().round(replace(worker_services, clock=utc_now))
    make_account(services, created_at=LONG_AGO)
    mail = "'hint', 'sent', 1, '2020-01-01', '2020-01-01'"
    with transaction(services) as tx:
        columns = "mail_id, kind, status, attempts, created_at, next_try_at"
        tx.session.execute(text(f"INSERT INTO outbox ({columns}) VALUES (gen_random_uuid(), {mail})"))  # noqa: S608  constants
    return database


def test_every_rule_is_shown_once_with_what_is_due_and_when_it_was_last_done(at_work: TestDatabase) -> None:
    rows = {row["rule"]: row for row in json.loads(show(at_work, "--json").stdout)}
    policy = load()
    own = {each.key for each in policy.housekeeping if each.plane == "controller"}
    assert set(rows) == {"cloud_services", "web_server_logs", *own}
    for key, row in rows.items():
        rule = policy.rule_for(key)
        assert (row["kept"], row["counted_from"]) == (str(rule.period), rule.anchor)
        assert row["due"] == (key in ("cloud_services", "ended_mails"))
    assert {key for key, row in rows.items() if row["last_done"] is None} == {"web_server_logs"}
    assert {key for key, row in rows.items() if row["source"] == "policy"} == {"cloud_services", "web_server_logs"}


def test_the_table_can_be_read_in_eighty_columns(at_work: TestDatabase) -> None:
    result = show(at_work)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("Cloud services" in line and "P7Y" in line and "last traffic" in line for line in lines)
