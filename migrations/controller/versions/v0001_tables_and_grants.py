"""The controller plane's tables, and what each database role may do with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

API = "cloudpriv_api"
WORKER = "cloudpriv_worker"
READ, ADD, CHANGE, ERASE = "SELECT", "INSERT", "UPDATE", "DELETE"
# Neither role may change or delete audit events or ledger entries: append-only is a grant, not a habit.
GRANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "accounts": {API: (READ, ADD, CHANGE), WORKER: (READ, CHANGE, ERASE)},
    "account_keys": {API: (READ, ADD), WORKER: (READ, ERASE)},
    "directory": {API: (READ, ADD, ERASE), WORKER: (READ, ERASE)},
    "people": {API: (READ, ADD, CHANGE, ERASE), WORKER: (READ, ERASE)},
    "credentials": {API: (READ, ADD, CHANGE, ERASE), WORKER: (READ, ERASE)},
    "devices": {API: (READ, ADD, CHANGE), WORKER: (READ, ERASE)},
    "traffic": {API: (READ, ADD, CHANGE), WORKER: (READ, ERASE)},
    "clients": {API: (READ,), WORKER: (READ,)},
    "idempotency_keys": {API: (READ, ADD, ERASE), WORKER: (READ, ERASE)},
    "audit_events": {API: (READ, ADD), WORKER: (READ, ADD)},
    "requests": {API: (READ, ADD, CHANGE), WORKER: (READ, CHANGE, ERASE)},
    "exports": {API: (READ, ADD, CHANGE), WORKER: (READ, CHANGE, ERASE)},
    "outbox": {API: (READ, ADD), WORKER: (READ, CHANGE, ERASE)},
    "purges": {API: (READ, ADD, CHANGE), WORKER: (READ, ADD, CHANGE)},
    "ledger": {API: (READ,), WORKER: (READ, ADD)},
    "alembic_version": {API: (READ,), WORKER: (READ,)},
}


def upgrade() -> None:
    """Create all tables, then grant."""
    _create_tables()
    for role in (API, WORKER):
        op.execute(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; "
            "END IF; END $$"
        )
    for table, grants in GRANTS.items():
        for role, rights in grants.items():
            op.execute(f"GRANT {', '.join(rights)} ON {table} TO {role}")


def _create_tables() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_traffic_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'restricted', 'closing', 'purging')", name=op.f("ck_accounts_status")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_index(
        "ix_accounts_activity",
        "accounts",
        [sa.literal_column("GREATEST(created_at, last_traffic_at)")],
        unique=False,
    )
    op.create_index(op.f("ix_accounts_service_account_id"), "accounts", ["service", "account_id"], unique=False)
    op.create_table(
        "audit_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("fields", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_account_id_event_id"), "audit_events", ["account_id", "event_id"], unique=False)
    op.create_table(
        "clients",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("service IN ('talk2m', 'intesis')", name=op.f("ck_clients_service")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_clients")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("key_index", sa.LargeBinary(), nullable=False),
        sa.Column("request_index", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("answer_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("plain", postgresql.JSONB(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_idempotency_keys_accounts")),
        sa.PrimaryKeyConstraint("caller", "key_index", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_account_id"), "idempotency_keys", ["account_id"], unique=False)
    op.create_index(op.f("ix_idempotency_keys_expires_at"), "idempotency_keys", ["expires_at"], unique=False)
    op.create_table(
        "ledger",
        sa.Column("account_hash", sa.LargeBinary(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_hash", name=op.f("pk_ledger")),
    )
    op.create_table(
        "purges",
        sa.Column("purge_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.CheckConstraint("status IN ('planned', 'running', 'done', 'cancelled')", name=op.f("ck_purges_status")),
        sa.CheckConstraint("trigger IN ('policy', 'request')", name=op.f("ck_purges_trigger")),
        sa.PrimaryKeyConstraint("purge_id", name=op.f("pk_purges")),
    )
    op.create_index("ix_purges_open", "purges", ["status", "lease_until"], unique=False)
    op.create_index(
        "uq_purges_open",
        "purges",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('planned', 'running')"),
    )
    op.create_table(
        "account_keys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kek_id", sa.String(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_account_keys_accounts")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_keys")),
    )
    op.create_table(
        "devices",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("serial_index", sa.LargeBinary(), nullable=False),
        sa.Column("common_name_index", sa.LargeBinary(), nullable=True),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_devices_accounts")),
        sa.PrimaryKeyConstraint("account_id", "device_id", name=op.f("pk_devices")),
    )
    op.create_index(
        "uq_devices_common_name",
        "devices",
        ["account_id", "common_name_index"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_devices_serial",
        "devices",
        ["account_id", "serial_index"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "directory",
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("name_index", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_directory_accounts")),
        sa.PrimaryKeyConstraint("service", "name_index", name=op.f("pk_directory")),
    )
    op.create_index(op.f("ix_directory_account_id"), "directory", ["account_id"], unique=False)
    op.create_table(
        "people",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("username_index", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("role IN ('owner', 'member')", name=op.f("ck_people_role")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_people_accounts")),
        sa.PrimaryKeyConstraint("account_id", "person_id", name=op.f("pk_people")),
    )
    op.create_index("uq_people_username", "people", ["account_id", "username_index"], unique=True)
    op.create_table(
        "requests",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("identity_verified_by", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("status IN ('in_progress', 'completed', 'refused')", name=op.f("ck_requests_status")),
        sa.CheckConstraint("type IN ('access', 'portability')", name=op.f("ck_requests_type")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_requests_accounts")),
        sa.PrimaryKeyConstraint("account_id", "request_id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_request_id"), "requests", ["request_id"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.LargeBinary(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_credentials_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "person_id", name=op.f("pk_credentials")),
    )
    op.create_table(
        "outbox",
        sa.Column("mail_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('queued', 'sent', 'failed', 'dropped')", name=op.f("ck_outbox_status")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_outbox_accounts")),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_outbox_people"),
            ondelete="SET NULL (person_id)",
        ),
        sa.PrimaryKeyConstraint("mail_id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_account_id_person_id"), "outbox", ["account_id", "person_id"], unique=False)
    op.create_index(op.f("ix_outbox_created_at"), "outbox", ["created_at"], unique=False)
    op.create_index(
        "ix_outbox_open",
        "outbox",
        ["next_try_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_table(
        "exports",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("export_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("object_key", sa.String(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'running', 'ready', 'failed', 'expired')", name=op.f("ck_exports_status")),
        sa.ForeignKeyConstraint(
            ["account_id", "request_id"],
            ["requests.account_id", "requests.request_id"],
            name=op.f("fk_exports_requests"),
        ),
        sa.PrimaryKeyConstraint("account_id", "export_id", name=op.f("pk_exports")),
    )
    op.create_index(op.f("ix_exports_export_id"), "exports", ["export_id"], unique=False)
    op.create_index("ix_exports_open", "exports", ["status", "lease_until"], unique=False)
    op.create_table(
        "traffic",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("session_key", sa.LargeBinary(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bytes_from_device", sa.BigInteger(), nullable=False),
        sa.Column("bytes_to_device", sa.BigInteger(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=True),
        sa.Column("remote_address", postgresql.INET(), nullable=True),
        sa.Column("end_reason", sa.String(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("bytes_from_device >= 0 AND bytes_to_device >= 0", name=op.f("ck_traffic_bytes")),
        sa.CheckConstraint("ended_at >= started_at", name=op.f("ck_traffic_times")),
        sa.CheckConstraint("octet_length(session_key) = 16", name=op.f("ck_traffic_session_key")),
        sa.ForeignKeyConstraint(
            ["account_id", "device_id"],
            ["devices.account_id", "devices.device_id"],
            name=op.f("fk_traffic_devices"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_traffic_people"),
            ondelete="SET NULL (person_id)",
        ),
        sa.PrimaryKeyConstraint("account_id", "session_key", name=op.f("pk_traffic")),
    )
    op.create_index(
        "ix_traffic_person",
        "traffic",
        ["account_id", "person_id"],
        unique=False,
        postgresql_where=sa.text("person_id IS NOT NULL"),
    )
    op.create_index("ix_traffic_time", "traffic", ["account_id", "started_at", "session_key"], unique=False)
