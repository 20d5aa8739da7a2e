"""The processor plane's tables, and what each database role may do with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "processor"
API = "cloudpriv_processor_api"
WORKER = "cloudpriv_processor_worker"
ERASER = "cloudpriv_eraser"  # of the controller plane's workers: orders an erasure, and sees that it was done
READ, ADD, CHANGE, ERASE = "SELECT", "INSERT", "UPDATE", "DELETE"
# No role may change or delete events: append-only is a grant, not a habit.
GRANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "log_accounts": {
        API: (READ, ADD, CHANGE),
        WORKER: (READ, CHANGE, ERASE),
        ERASER: ("SELECT (account_id, last_point_at, closing_until, erasing_at)", "UPDATE (closing_until, erasing_at)"),
    },
    "log_keys": {API: (READ, ADD), WORKER: (READ, ERASE), ERASER: ("SELECT (account_id)", ERASE)},
    "log_devices": {API: (READ, ADD, CHANGE), WORKER: (READ, CHANGE, ERASE)},
    "log_tags": {API: (READ, ADD), WORKER: (READ, CHANGE, ERASE)},
    "log_tokens": {API: (READ, ADD, CHANGE), WORKER: (READ, ERASE)},
    "log_chunks": {API: (READ, ADD), WORKER: (READ, ADD, CHANGE, ERASE)},
    "log_batches": {API: (READ, ADD), WORKER: (READ, ERASE)},
    "log_transactions": {API: (READ, ADD, ERASE), WORKER: (READ, ERASE)},
    "log_deletions": {API: (READ, ADD), WORKER: (READ, ADD, CHANGE, ERASE)},
    "log_exports": {API: (READ, ADD), WORKER: (READ, ADD, CHANGE, ERASE)},
    "log_instructions": {API: (READ, ADD, CHANGE), WORKER: (READ, CHANGE, ERASE)},
    "log_retention": {API: (READ, ADD, CHANGE, ERASE), WORKER: (READ, ERASE)},
    "log_requests": {API: (READ, ADD, CHANGE), WORKER: (READ, CHANGE, ERASE)},
    "log_callbacks": {API: (READ, ADD), WORKER: (READ, ADD, CHANGE, ERASE)},
    "log_garbage": {WORKER: (READ, ADD, CHANGE, ERASE)},
    "log_tasks": {API: (READ, ADD, CHANGE), WORKER: (READ, ADD, CHANGE, ERASE)},
    "log_events": {API: (READ, ADD), WORKER: (READ, ADD)},
    "log_erased": {API: (READ,), WORKER: (READ, ADD, CHANGE), ERASER: (READ, ADD)},
    "alembic_version": {API: (READ,), WORKER: (READ,)},
}
# The planner's statistics hold samples of values, which no erasure reaches: none are taken of what is sealed or secret.
UNSAMPLED = (
    ("log_keys", "wrapped"),
    ("log_devices", "identity"),
    ("log_tags", "identity"),
    ("log_tokens", "label"),
    ("log_tokens", "secret_hash"),
    ("log_instructions", "detail"),
    ("log_requests", "body"),
    ("log_callbacks", "body"),
)
# The eraser's door, narrower than a grant can say: an order stands once it is given, begins now, and closing soon passes.
# One minute more than the five that are asked for, as a statement may wait for a lock after it read the clock.
MARKS = """
CREATE FUNCTION keep_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.erasing_at IS NOT NULL AND NEW.erasing_at IS DISTINCT FROM OLD.erasing_at THEN
        RAISE check_violation USING MESSAGE = 'an ordered erasure is not taken back or changed';
    ELSIF NEW.erasing_at > clock_timestamp() + interval '1 minute' THEN
        RAISE check_violation USING MESSAGE = 'an erasure is not ordered for later';
    ELSIF NEW.closing_until > clock_timestamp() + interval '6 minutes' THEN
        RAISE check_violation USING MESSAGE = 'an account is closed for five minutes at most';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_marks BEFORE UPDATE OF closing_until, erasing_at ON log_accounts
FOR EACH ROW EXECUTE FUNCTION keep_marks();
"""


def upgrade() -> None:
    """Create all tables, keep what is sealed out of statistics, guard the marks of an erasure, then grant."""
    _create_tables()
    op.execute(MARKS)
    for table, column in UNSAMPLED:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    for role in (API, WORKER, ERASER):
        op.execute(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; "
            "END IF; END $$"
        )
        op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}")
    for table, grants in GRANTS.items():
        for role, rights in grants.items():
            op.execute(f"GRANT {', '.join(rights)} ON {table} TO {role}")


def _create_tables() -> None:
    op.create_table(
        "log_accounts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("head_seq", sa.BigInteger(), nullable=False),
        sa.Column("next_number", sa.Integer(), nullable=False),
        sa.Column("last_point_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closing_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erasing_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kept_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_log_accounts")),
    )
    op.create_index(
        "ix_log_accounts_untold",
        "log_accounts",
        ["last_point_at"],
        unique=False,
        postgresql_where=sa.text("last_point_at IS NOT NULL"),
    )
    op.create_index(
        "ix_log_accounts_erasing",
        "log_accounts",
        ["erasing_at"],
        unique=False,
        postgresql_where=sa.text("erasing_at IS NOT NULL"),
    )
    op.create_table(
        "log_erased",
        sa.Column("account_hash", sa.LargeBinary(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("account_hash", name=op.f("pk_log_erased")),
    )
    op.create_table(
        "log_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("instruction_id", sa.Uuid(), nullable=True),
        sa.Column("fields", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_log_events")),
    )
    op.create_index(op.f("ix_log_events_account_id_event_id"), "log_events", ["account_id", "event_id"], unique=False)
    op.create_index(op.f("ix_log_events_at"), "log_events", ["at"], unique=False)
    op.create_table(
        "log_deletions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("deletion_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("tag_id", sa.Integer(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("up_to_seq", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'done')", name=op.f("ck_log_deletions_status")),
        sa.CheckConstraint(
            "trigger IN ('customer', 'datamailbox', 'retention', 'instruction', 'opendsr')",
            name=op.f("ck_log_deletions_trigger"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_deletions_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "deletion_id", name=op.f("pk_log_deletions")),
    )
    op.create_index("ix_log_deletions_pending", "log_deletions", ["account_id", "status"], unique=False)
    op.create_table(
        "log_devices",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("name_index", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_point_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_devices_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "device_id", name=op.f("pk_log_devices")),
    )
    op.create_index(op.f("ix_log_devices_account_id_name_index"), "log_devices", ["account_id", "name_index"], unique=True)
    op.create_index(op.f("ix_log_devices_account_id_number"), "log_devices", ["account_id", "number"], unique=True)
    op.create_table(
        "log_exports",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("export_id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("selection", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("trigger_id", sa.Uuid(), nullable=True),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("format IN ('csv', 'ndjson', 'parquet')", name=op.f("ck_log_exports_format")),
        sa.CheckConstraint("status IN ('pending', 'ready', 'failed', 'expired')", name=op.f("ck_log_exports_status")),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_exports_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "export_id", name=op.f("pk_log_exports")),
    )
    op.create_index(
        "ix_log_exports_expiry", "log_exports", ["expires_at"], unique=False, postgresql_where=sa.text("status = 'ready'")
    )
    op.create_table(
        "log_garbage",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("after", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_garbage_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "object_key", name=op.f("pk_log_garbage")),
    )
    op.create_index(op.f("ix_log_garbage_after"), "log_garbage", ["after"], unique=False)
    op.create_table(
        "log_instructions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("instruction_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("tag_id", sa.Integer(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.Column("given_by", sa.String(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("kind <> 'support_read' OR until IS NOT NULL", name=op.f("ck_log_instructions_until")),
        sa.CheckConstraint("kind IN ('support_read', 'delete', 'export')", name=op.f("ck_log_instructions_kind")),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_instructions_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "instruction_id", name=op.f("pk_log_instructions")),
    )
    op.create_index(op.f("ix_log_instructions_instruction_id"), "log_instructions", ["instruction_id"], unique=False)
    op.create_table(
        "log_keys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kek_id", sa.String(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_keys_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_log_keys")),
    )
    op.create_table(
        "log_requests",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("results_id", sa.Uuid(), nullable=True),
        sa.Column("results_count", sa.BigInteger(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'in_progress', 'completed', 'cancelled')", name=op.f("ck_log_requests_status")
        ),
        sa.CheckConstraint("type IN ('access', 'portability', 'erasure')", name=op.f("ck_log_requests_type")),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_requests_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "request_id", name=op.f("pk_log_requests")),
    )
    op.create_table(
        "log_retention",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("tag_id", sa.Integer(), nullable=True),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_retention_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "rule_id", name=op.f("pk_log_retention")),
    )
    op.create_index(
        "uq_log_retention_scope",
        "log_retention",
        [
            "account_id",
            sa.literal_column("coalesce(device_id, '00000000-0000-0000-0000-000000000000'::uuid)"),
            sa.literal_column("coalesce(tag_id, 0)"),
        ],
        unique=True,
    )
    op.create_table(
        "log_tasks",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_tasks_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "task_id", name=op.f("pk_log_tasks")),
    )
    op.create_index(op.f("ix_log_tasks_lease_until"), "log_tasks", ["lease_until"], unique=False)
    op.create_index(op.f("ix_log_tasks_task_id"), "log_tasks", ["task_id"], unique=False)
    op.create_index(
        "uq_log_tasks_subject",
        "log_tasks",
        ["account_id", "kind", sa.literal_column("coalesce(subject_id, '00000000-0000-0000-0000-000000000000'::uuid)")],
        unique=True,
    )
    op.create_table(
        "log_transactions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rest", sa.BigInteger(), nullable=False),
        sa.Column("positions", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_transactions_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "transaction_id", name=op.f("pk_log_transactions")),
    )
    op.create_index(op.f("ix_log_transactions_created_at"), "log_transactions", ["created_at"], unique=False)
    op.create_table(
        "log_batches",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("key_index", sa.LargeBinary(), nullable=False),
        sa.Column("body_index", sa.LargeBinary(), nullable=False),
        sa.Column("verdict", postgresql.JSONB(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "device_id"],
            ["log_devices.account_id", "log_devices.device_id"],
            name=op.f("fk_log_batches_log_devices"),
        ),
        sa.PrimaryKeyConstraint("account_id", "device_id", "key_index", name=op.f("pk_log_batches")),
    )
    op.create_index(op.f("ix_log_batches_received_at"), "log_batches", ["received_at"], unique=False)
    op.create_table(
        "log_callbacks",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("callback_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'taken', 'given_up')", name=op.f("ck_log_callbacks_status")),
        sa.ForeignKeyConstraint(
            ["account_id", "request_id"],
            ["log_requests.account_id", "log_requests.request_id"],
            name=op.f("fk_log_callbacks_log_requests"),
        ),
        sa.PrimaryKeyConstraint("account_id", "callback_id", name=op.f("pk_log_callbacks")),
    )
    op.create_index(
        "ix_log_callbacks_next", "log_callbacks", ["next_at"], unique=False, postgresql_where=sa.text("status = 'pending'")
    )
    op.create_table(
        "log_chunks",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("segments", postgresql.JSONB(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("level IN (0, 1)", name=op.f("ck_log_chunks_level")),
        sa.ForeignKeyConstraint(
            ["account_id", "device_id"],
            ["log_devices.account_id", "log_devices.device_id"],
            name=op.f("fk_log_chunks_log_devices"),
        ),
        sa.PrimaryKeyConstraint("account_id", "chunk_id", name=op.f("pk_log_chunks")),
    )
    op.create_index(
        op.f("ix_log_chunks_account_id_device_id_since"), "log_chunks", ["account_id", "device_id", "since"], unique=False
    )
    op.create_index(op.f("ix_log_chunks_account_id_last_seq"), "log_chunks", ["account_id", "last_seq"], unique=False)
    op.create_index(
        "ix_log_chunks_small",
        "log_chunks",
        ["account_id", "device_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("level = 0"),
    )
    op.create_table(
        "log_tags",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("tag_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("name_index", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "device_id"],
            ["log_devices.account_id", "log_devices.device_id"],
            name=op.f("fk_log_tags_log_devices"),
        ),
        sa.PrimaryKeyConstraint("account_id", "tag_id", name=op.f("pk_log_tags")),
    )
    op.create_index(
        op.f("ix_log_tags_account_id_device_id_name_index"),
        "log_tags",
        ["account_id", "device_id", "name_index"],
        unique=True,
    )
    op.create_table(
        "log_tokens",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("label", sa.LargeBinary(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(kind = 'device') = (device_id IS NOT NULL) AND kind IN ('device', 'reader')", name=op.f("ck_log_tokens_kind")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "device_id"],
            ["log_devices.account_id", "log_devices.device_id"],
            name=op.f("fk_log_tokens_log_devices"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"], name=op.f("fk_log_tokens_log_accounts")),
        sa.PrimaryKeyConstraint("account_id", "token_id", name=op.f("pk_log_tokens")),
    )
    op.create_index(op.f("ix_log_tokens_account_id_secret_hash"), "log_tokens", ["account_id", "secret_hash"], unique=True)
