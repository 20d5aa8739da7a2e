"""Retention that can be trusted: runs and guards, holds, notices, duties, the forecast, and the log that proves erasures."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

API = "cloudpriv_api"
WORKER = "cloudpriv_worker"
READ, ADD, CHANGE, ERASE = "SELECT", "INSERT", "UPDATE", "DELETE"
GRANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "purge_runs": {API: (READ, ADD, CHANGE), WORKER: (READ, ADD, CHANGE, ERASE)},
    "purges": {WORKER: (ERASE,)},  # what was only proposed
    "holds": {API: (READ, ADD, CHANGE), WORKER: (READ, ERASE)},
    "notices": {API: (READ,), WORKER: (READ, ADD, ERASE)},
    "guard_baselines": {API: (READ, ADD, CHANGE), WORKER: (READ, ADD, CHANGE)},
    "duties": {API: (READ,), WORKER: (READ, ADD, CHANGE)},
    "forecast_months": {API: (READ, ADD, ERASE), WORKER: (READ, ADD, CHANGE, ERASE)},
    "log_pending": {API: (READ, ADD), WORKER: (READ, ADD, ERASE)},
    "logs": {API: (READ,), WORKER: (READ, ADD, CHANGE)},
    "log_tiles": {API: (READ,), WORKER: (READ, ADD, CHANGE)},
    "checkpoints": {API: (READ,), WORKER: (READ, ADD)},
    "certificates": {API: (READ,), WORKER: (READ, ADD, "UPDATE (log, leaf_index)")},
    "idempotency_keys": {WORKER: ("UPDATE (expires_at)",)},  # to lock what it erases
    "outbox": {WORKER: (ADD,)},
    # What a hold keeps of an erased account is stripped of all that the hold does not cover.
    "people": {WORKER: (CHANGE,)},
    "devices": {WORKER: (CHANGE,)},
    "traffic": {WORKER: (CHANGE,)},
    "credentials": {WORKER: (CHANGE,)},
}
# PostgreSQL's planner statistics hold samples of values, for as long as nobody analyses the table anew: an erasure would not
# reach them. Nothing is looked for by these columns, so the planner needs to know nothing of them.
UNSAMPLED = (
    ("account_keys", "wrapped", "bytea"),
    ("accounts", "profile", "bytea"),
    ("people", "identity", "bytea"),
    ("credentials", "password_hash", "bytea"),
    ("credentials", "hint", "bytea"),
    ("devices", "identity", "bytea"),
    ("devices", "kind", "varchar"),
    ("traffic", "remote_address", "inet"),
    ("traffic", "protocol", "varchar"),
    ("traffic", "end_reason", "varchar"),
    ("idempotency_keys", "sealed", "bytea"),
    ("idempotency_keys", "request_index", "bytea"),
    ("holds", "authority", "varchar"),
    ("holds", "reference", "varchar"),
)
PURGE_STATUS = "status IN ('proposed', 'waiting', 'planned', 'running', 'done', 'cancelled')"


def upgrade() -> None:
    """Make the tables, let what was recorded before enter the log, keep personal data out of statistics, then grant."""
    _create_tables()
    _widen_purges()
    op.execute("INSERT INTO log_pending SELECT event_id FROM audit_events")
    for table, column, kind in UNSAMPLED:
        # Setting the type, here to what it is, drops the samples that were taken so far; no row is rewritten.
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}, ALTER COLUMN {column} SET STATISTICS 0")
    for table, grants in GRANTS.items():
        for role, rights in grants.items():
            op.execute(f"GRANT {', '.join(rights)} ON {table} TO {role}")


def _widen_purges() -> None:
    op.drop_constraint(op.f("ck_purges_status"), "purges")
    op.create_check_constraint(op.f("ck_purges_status"), "purges", PURGE_STATUS)
    op.drop_constraint(op.f("ck_purges_trigger"), "purges")
    op.create_check_constraint(op.f("ck_purges_trigger"), "purges", "trigger IN ('policy', 'request', 'replay')")
    op.drop_index("uq_purges_open", "purges")
    open_ones = sa.text("status IN ('waiting', 'planned', 'running')")
    op.create_index("uq_purges_open", "purges", ["account_id"], unique=True, postgresql_where=open_ones)


def _create_tables() -> None:
    op.create_table(
        "certificates",
        sa.Column("certificate_id", sa.Uuid(), nullable=False),
        sa.Column("purge_id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("log", sa.Integer(), nullable=True),
        sa.Column("leaf_index", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("certificate_id", name=op.f("pk_certificates")),
    )
    op.create_index(op.f("ix_certificates_purge_id"), "certificates", ["purge_id"], unique=True)
    op.create_index(op.f("ix_certificates_log_leaf_index"), "certificates", ["log", "leaf_index"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("log", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("log", "size", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("done_slot", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
    )
    op.create_table(
        "forecast_months",
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("accounts", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("held_accounts", sa.BigInteger(), nullable=False),
        sa.Column("held_records", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("service", "month", name=op.f("pk_forecast_months")),
    )
    op.create_table(
        "guard_baselines",
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("host_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("boot_seconds", sa.Float(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("service", "boot_id", name=op.f("pk_guard_baselines")),
    )
    op.create_table(
        "log_pending",
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_log_pending")),
    )
    op.create_table(
        "log_tiles",
        sa.Column("log", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("entries", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("log", "level", "number", name=op.f("pk_log_tiles")),
    )
    op.create_table(
        "logs",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("vkey", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("log", name=op.f("pk_logs")),
    )
    op.create_table(
        "purge_runs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("accounts", sa.Integer(), nullable=False),
        sa.Column("findings", postgresql.JSONB(), nullable=False),
        sa.Column("planned_by", sa.String(), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_by", sa.String(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('proposed', 'waiting', 'approved')", name=op.f("ck_purge_runs_status")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_purge_runs")),
    )
    op.create_table(
        "holds",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("category", sa.String(), nullable=True),
        sa.Column("authority", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("placed_by", sa.String(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.String(), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "CASE scope WHEN 'account' THEN person_id IS NULL AND category IS NULL "
            "WHEN 'person' THEN person_id IS NOT NULL AND category IS NULL "
            "WHEN 'category' THEN person_id IS NULL AND category IS NOT NULL ELSE false END",
            name=op.f("ck_holds_scope"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_holds_accounts")),
        sa.PrimaryKeyConstraint("account_id", "hold_id", name=op.f("pk_holds")),
    )
    op.create_table(
        "notices",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mails", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_notices_accounts")),
        sa.PrimaryKeyConstraint("account_id", "due_on", "days", name=op.f("pk_notices")),
    )
    op.create_index(
        "ix_audit_events_traffic", "audit_events", ["at"], unique=False, postgresql_where=sa.text("action = 'traffic.write'")
    )
    op.add_column("ledger", sa.Column("certificate_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_ledger_erased_at_account_hash"), "ledger", ["erased_at", "account_hash"], unique=False)
    op.add_column("people", sa.Column("erasure_requested_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_people_erasure",
        "people",
        ["erasure_requested_at"],
        unique=False,
        postgresql_where=sa.text("erasure_requested_at IS NOT NULL"),
    )
    op.add_column("purges", sa.Column("run_id", sa.Uuid(), nullable=True))
    op.add_column("purges", sa.Column("shredded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("purges", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("purges", sa.Column("certificate_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_purges_run_id"), "purges", ["run_id"], unique=False)
    op.create_index(op.f("ix_purges_service_planned_at"), "purges", ["service", "planned_at"], unique=False)
    named = sa.text("account_id IS NOT NULL")
    op.create_index(op.f("ix_purges_account_id"), "purges", ["account_id"], unique=False, postgresql_where=named)
    finished = sa.text("finished_at IS NOT NULL")
    op.create_index("ix_purges_finished", "purges", ["status", "finished_at"], unique=False, postgresql_where=finished)
    completed = sa.text("completed_at IS NOT NULL")
    op.create_index("ix_requests_completed", "requests", ["completed_at"], unique=False, postgresql_where=completed)
    op.create_foreign_key(op.f("fk_purges_purge_runs"), "purges", "purge_runs", ["run_id"], ["run_id"])
