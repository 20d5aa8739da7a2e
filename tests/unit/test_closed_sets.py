"""What must be complete is: nobody has to remember to extend a list."""

import importlib
from itertools import product

import pytest
from flask import Flask
from sqlalchemy import Column, Engine, String, Table, text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.exc import ProgrammingError

from cloudpriv.api import problems
from cloudpriv.api.endpoint import OPEN, Served, UndeclaredRouteError, access_of
from cloudpriv.api.openapi import document
from cloudpriv.app import documented_app
from cloudpriv.controller import clients
from cloudpriv.database import differences
from cloudpriv.metadata import CONTROLLER, PROCESSOR
from cloudpriv.platform import errors
from cloudpriv.platform.actor import HOLDER, LOG_DATA_SCOPES
from cloudpriv.platform.classify import LOG_DATA, Category, Erasure, classification_of, erased_tables
from cloudpriv.platform.errors import DomainError
from cloudpriv.platform.jobs import JOBS
from cloudpriv.policy.register import load
from tests.stack import TestDatabase

# Design, section 3, and the ADRs.
APART = {
    *("directory", "clients", "ledger", "audit_events", "idempotency_keys", "purges", "outbox"),
    *("purge_runs", "guard_baselines", "duties", "forecast_months"),
    *("log_pending", "logs", "log_tiles", "checkpoints", "certificates"),
    *("log_events", "log_erased"),
}
METHODS = {"get", "post", "put", "patch", "delete"}
TABLES = [*CONTROLLER.sorted_tables, *PROCESSOR.sorted_tables]
COLUMNS = [column for table in TABLES for column in table.columns]


@pytest.fixture(scope="module")
def app() -> Flask:
    """The routes."""
    return documented_app()


def routes(app: Flask) -> set[tuple[str, str]]:
    """Method and path of every route, as OpenAPI writes them."""
    found = set()
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<uuid:", "{").replace("<", "{").replace(">", "}")
        found |= {(method.lower(), path) for method in (rule.methods or set()) if method.lower() in METHODS}
    return found


def test_routes_and_the_openapi_document_are_the_same_set(app: Flask) -> None:
    paths = document(app)["paths"]
    documented = {(method, path) for path, item in paths.items() for method in item if method in METHODS}
    assert documented == routes(app)


def scopes_of(*planes: Served) -> set[str]:
    """What the routes of these planes demand."""
    found = documented_app(*planes)
    return {access_of(found, rule.endpoint).scope for rule in found.url_map.iter_rules()} - OPEN


def test_every_route_demands_a_scope_of_its_plane_and_every_scope_is_demanded() -> None:
    of_customers = set().union(*LOG_DATA_SCOPES.values())
    assert scopes_of("controller") == clients.SCOPES - LOG_DATA_SCOPES["client"] | {HOLDER}
    assert scopes_of("processor") == of_customers
    assert clients.SCOPES & of_customers == LOG_DATA_SCOPES["client"], "no client can be given a customer's scope"
    assert HOLDER not in clients.SCOPES, "nor the rights of a person"


def test_each_plane_serves_its_own_routes_and_what_is_common(app: Flask) -> None:
    controller, processor = routes(documented_app("controller")), routes(documented_app("processor"))
    assert controller | processor == routes(app)
    assert controller & processor == {
        ("get", f"/{name}") for name in ("healthz", "readyz", "metrics", "openapi.json", "docs")
    }


def test_an_app_with_an_undeclared_route_does_not_start(app: Flask) -> None:
    naked = Flask("naked", static_folder=None)
    naked.add_url_rule("/naked", "naked", lambda: "")
    with pytest.raises(UndeclaredRouteError, match="naked"):
        access_of(naked, "naked")


def test_every_operation_of_the_document_can_refuse_and_says_whom_it_serves(app: Flask) -> None:
    for path, item in document(app)["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                assert "security" in operation, path
                assert operation["summary"], path
                assert "default" not in operation["responses"], f"{path}: every status is listed, so that another is a fault"


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.table.name}.{column.name}")
def test_every_column_is_classified(column: Column[object]) -> None:
    mark = classification_of(column)
    assert mark is not None
    assert (mark.export is None) != (mark.withheld is None), "either exported or not, with the reason"
    assert mark.purpose in {activity.key for activity in load().activities}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_says_how_it_is_erased_and_exported(table: Table) -> None:
    assert isinstance(table.info.get("erasure"), Erasure)
    assert bool(table.info["member"]) != bool(table.info["why"]), "a member of the export, or why there is none"
    exported = [column for column in table.columns if (mark := classification_of(column)) and mark.export]
    assert bool(exported) == bool(table.info["member"])


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_with_an_account_is_erased_cleared_or_kept_without_personal_data(table: Table) -> None:
    if "account_id" in table.columns and table not in {*erased_tables(CONTROLLER), *erased_tables(PROCESSOR)}:
        assert table.info["erasure"] in {Erasure.KEPT, Erasure.CLEARED}
        assert not any(mark.sealed for column in table.columns if (mark := classification_of(column)))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_accounts_rows_lie_together(table: Table) -> None:
    if table.name in APART:
        return
    assert next(iter(table.primary_key.columns)).name == "account_id"
    for constraint in table.foreign_key_constraints:
        assert "account_id" in constraint.column_keys
    for index in table.indexes:
        if index.unique:
            assert "account_id" in index.columns


@pytest.mark.parametrize("name", JOBS)
def test_every_job_name_resolves(name: str) -> None:
    module, _, function = JOBS[name].rpartition(".")
    assert callable(getattr(importlib.import_module(module), function))


def test_every_domain_error_has_a_problem_and_no_code_twice() -> None:
    known = errors.domain_errors()
    assert set(problems.STATUS) == known
    codes = [error.code for error in known]
    assert len(set(codes)) == len(codes)
    assert DomainError.code not in codes


@pytest.mark.parametrize("table", PROCESSOR.sorted_tables, ids=lambda table: table.name)
def test_log_data_is_exported_and_erased_in_its_own_plane_alone(table: Table) -> None:
    assert table.info["member"] is None, "the controller plane's archives hold no log data"
    for mark in (classification_of(column) for column in table.columns):
        assert mark is not None
        assert (mark.category, mark.purpose) in product((Category.LOG_DATA, Category.OPERATION), (LOG_DATA,))
        assert bool(mark.sealed) == (mark.category is Category.LOG_DATA), "what the customer says is sealed"


@pytest.mark.parametrize("table", PROCESSOR.sorted_tables, ids=lambda table: table.name)
def test_no_row_of_log_data_outlives_the_row_of_its_account(table: Table) -> None:
    if table.info["erasure"] is Erasure.ROWS and table.name != "log_accounts":
        assert table.foreign_keys, "the account's row, which goes last, cannot go before it"


def test_the_planes_have_no_table_in_common() -> None:
    assert not CONTROLLER.tables.keys() & PROCESSOR.tables.keys()


def test_the_migrations_make_the_classified_tables(owner_engine: Engine, processor_owner: Engine) -> None:
    assert differences(owner_engine) == []
    assert differences(processor_owner, "processor") == []


def unsampled_in(owner: Engine) -> set[tuple[str, str]]:
    """The columns of a plane that its database takes no samples of."""
    query = "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attstattarget = 0 AND attnum > 0"
    with owner.connect() as connection:
        return {(table, column) for table, column in connection.exec_driver_sql(query)}


def test_no_sample_of_log_data_or_of_what_guards_it_stays_in_the_planners_statistics(processor_owner: Engine) -> None:
    columns = [column for table in PROCESSOR.sorted_tables for column in table.columns]
    sealed = {(each.table.name, each.name) for each in columns if (mark := classification_of(each)) and mark.sealed}
    assert {("log_keys", "wrapped"), ("log_tokens", "secret_hash"), *sealed} <= unsampled_in(processor_owner)


def test_no_sample_of_what_is_personal_or_guards_it_stays_in_the_planners_statistics(owner_engine: Engine) -> None:
    unsampled = unsampled_in(owner_engine)
    columns = [column for table in CONTROLLER.sorted_tables for column in table.columns]
    marked = [(column, mark) for column in columns if (mark := classification_of(column))]
    sealed = {(column.table.name, column.name) for column, mark in marked if mark.sealed}
    said = {
        (column.table.name, column.name)
        for column, mark in marked
        if isinstance(column.type, String | INET) and mark.category in {Category.DEVICES, Category.TRAFFIC}
    }
    assert {("account_keys", "wrapped"), ("holds", "authority"), ("holds", "reference"), *sealed, *said} <= unsampled


@pytest.mark.parametrize(
    ("role", "statement"),
    list(
        product(
            ("api", "worker"),
            (
                "UPDATE audit_events SET action = 'x'",
                "DELETE FROM audit_events",
                "TRUNCATE audit_events",
                "UPDATE ledger SET rule = 'x'",
                "DELETE FROM ledger",
                "DROP TABLE ledger",
                "INSERT INTO clients SELECT * FROM clients",
                "UPDATE clients SET scopes = '{}'",
                "CREATE TABLE mine (id int)",
            ),
        )
    ),
)
def test_no_role_can_rewrite_the_trail_or_grant_itself_more(database: TestDatabase, role: str, statement: str) -> None:
    engine = database.engine("api" if role == "api" else "worker")
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM accounts", "DELETE FROM traffic", "DELETE FROM account_keys", "INSERT INTO ledger DEFAULT VALUES"],
)
def test_only_workers_erase(database: TestDatabase, statement: str) -> None:
    engine = database.engine("api")
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
