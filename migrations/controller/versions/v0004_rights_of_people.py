"""Rights of the people in the data: requests of every kind, consents, disclosures, sessions of the portal, new owners."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

API = "cloudpriv_api"
WORKER = "cloudpriv_worker"
READ, ADD, CHANGE, ERASE = "SELECT", "INSERT", "UPDATE", "DELETE"
# No role may change the history of consents and of disclosures, and no row of it goes but with its account or person.
# Accounts are erased by workers. A person is erased by the API too, where a hold keeps the person's row: see KEEP_CONSENTS.
GRANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "holder_sessions": {API: (READ, ADD, CHANGE, ERASE), WORKER: (READ, CHANGE, ERASE)},
    "one_time_codes": {API: (READ, ADD, CHANGE, ERASE), WORKER: (READ, CHANGE, ERASE)},
    "consent_records": {API: (READ, ADD, ERASE), WORKER: (READ, ADD, ERASE)},
    "disclosures": {API: (READ, ADD), WORKER: (READ, ERASE)},
    "recipient_notices": {API: (READ, ADD, CHANGE), WORKER: (READ, ADD, CHANGE, ERASE)},
    "owner_replacements": {API: (READ, ADD, CHANGE, ERASE), WORKER: (READ, CHANGE, ERASE)},
    "policy_announcements": {API: (READ, CHANGE, ERASE), WORKER: (READ, ADD, ERASE)},
}
# What goes with a person's row by the database goes in the name of the tables' owner, and needs no right of anybody.
KEEP_CONSENTS = f"""
CREATE FUNCTION keep_consents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM people p
        WHERE (p.account_id, p.person_id) = (OLD.account_id, OLD.person_id) AND p.erasure_requested_at IS NULL
    ) THEN
        RAISE EXCEPTION 'the history of consents goes with its person' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER keep_consents BEFORE DELETE ON consent_records
FOR EACH ROW WHEN (current_user = '{API}') EXECUTE FUNCTION keep_consents();
"""
UNSAMPLED = (
    ("holder_sessions", "browser", "bytea"),
    ("holder_sessions", "secret_hash", "bytea"),
    ("consent_records", "record", "bytea"),
    ("disclosures", "details", "bytea"),
    ("outbox", "addressee", "bytea"),
    ("owner_replacements", "evidence", "bytea"),
    ("requests", "details", "bytea"),
)
TYPES = "type IN ('access', 'portability', 'rectification', 'erasure', 'restriction', 'objection', 'consent_withdrawal')"
GROUNDS = (
    "ground IN ('manifestly_unfounded', 'excessive', 'identity_not_verified', 'legal_obligation', 'legal_claims', "
    "'compelling_grounds', 'others_rights', 'data_accurate', 'not_applicable')"
)
STATUSES = "status IN ('received', 'identity_verified', 'in_progress', 'completed', 'refused', 'withdrawn')"


# Of the trail, which may be long and is written to by whatever goes on.
TRAIL_INDEXES = (
    ("ix_audit_events_looks", "(account_id, event_id) WHERE action <> 'traffic.write'"),
    ("ix_audit_events_subject", "(account_id, subject_id, event_id) WHERE subject_id IS NOT NULL"),
)


def upgrade() -> None:
    """Index the trail; then make the tables, widen requests and exports, keep personal data out of statistics, and grant.

    All but the indexes is one transaction. Killed anywhere, it is begun again.
    """
    _index_trail()
    _create_tables()
    _widen()
    for table, column, kind in UNSAMPLED:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}, ALTER COLUMN {column} SET STATISTICS 0")
    op.execute(KEEP_CONSENTS)
    for table, grants in GRANTS.items():
        for role, rights in grants.items():
            op.execute(f"GRANT {', '.join(rights)} ON {table} TO {role}")


def _checked(table: str, **conditions: str) -> None:
    for name, condition in conditions.items():
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _index_trail() -> None:
    """Without a lock that writers wait for, and so outside a transaction: what a killed run left is found here."""
    with op.get_context().autocommit_block():
        for name, indexed in TRAIL_INDEXES:
            half_made = sa.text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
            if op.get_bind().scalar(half_made, {"name": name}):
                op.execute(f"DROP INDEX CONCURRENTLY {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON audit_events {indexed}")


def _widen() -> None:
    """What stands was asked for by backends, of whole accounts, and is answered in English as before."""
    op.add_column("accounts", sa.Column("closes_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("accounts", sa.Column("closing_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("exports", sa.Column("person_id", sa.Uuid(), nullable=True))
    op.add_column("exports", sa.Column("scope", sa.String(), nullable=False, server_default="account"))
    op.add_column("exports", sa.Column("language", sa.String(), nullable=False, server_default="en"))
    op.add_column("exports", sa.Column("progress", sa.Integer(), nullable=False, server_default="0"))
    op.create_foreign_key(
        op.f("fk_exports_people"),
        "exports",
        "people",
        ["account_id", "person_id"],
        ["account_id", "person_id"],
        ondelete="SET NULL (person_id)",
    )
    op.add_column("outbox", sa.Column("subject_id", sa.Uuid(), nullable=True))
    op.add_column("outbox", sa.Column("addressee", sa.LargeBinary(), nullable=True))
    op.execute(f"GRANT UPDATE (addressee) ON outbox TO {API}")  # a person's erasure empties what is sealed
    op.add_column("people", sa.Column("restricted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("people", sa.Column("restriction_asked_at", sa.ARRAY(sa.DateTime(timezone=True)), nullable=True))
    for table in ("accounts", "people"):
        op.add_column(table, sa.Column("restricted_for", sa.ARRAY(sa.String()), nullable=True))
        op.add_column(table, sa.Column("restriction_ends_at", sa.DateTime(timezone=True), nullable=True))
        op.add_column(table, sa.Column("restriction_end_ground", sa.String(), nullable=True))
        op.create_index(
            f"ix_{table}_restriction",
            table,
            ["restriction_ends_at"],
            unique=False,
            postgresql_where=sa.text("restriction_ends_at IS NOT NULL"),
        )
    op.add_column("requests", sa.Column("person_id", sa.Uuid(), nullable=True))
    op.add_column("requests", sa.Column("scope", sa.String(), nullable=False, server_default="account"))
    op.add_column("requests", sa.Column("channel", sa.String(), nullable=False, server_default="backend"))
    op.add_column("requests", sa.Column("identity_method", sa.String(), nullable=True))
    op.add_column("requests", sa.Column("identity_verified_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("requests", sa.Column("extended_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("requests", sa.Column("ground", sa.String(), nullable=True))
    op.add_column("requests", sa.Column("decided_by", sa.String(), nullable=True))
    op.add_column("requests", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("requests", sa.Column("duplicate_of", sa.Uuid(), nullable=True))
    op.add_column("requests", sa.Column("effective_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("requests", sa.Column("details", sa.LargeBinary(), nullable=True))
    op.alter_column("requests", "identity_verified_by", existing_type=sa.VARCHAR(), nullable=True)
    op.create_index(
        "ix_requests_open", "requests", ["due_on"], unique=False, postgresql_where=sa.text("completed_at IS NULL")
    )
    op.create_foreign_key(
        op.f("fk_requests_people"),
        "requests",
        "people",
        ["account_id", "person_id"],
        ["account_id", "person_id"],
        ondelete="SET NULL (person_id)",
    )
    op.create_foreign_key(
        op.f("fk_requests_requests"),
        "requests",
        "requests",
        ["account_id", "duplicate_of"],
        ["account_id", "request_id"],
        ondelete="SET NULL (duplicate_of)",
    )
    for table, columns in {"exports": ("scope", "language", "progress"), "requests": ("scope", "channel")}.items():
        for column in columns:
            op.alter_column(table, column, server_default=None)
    op.execute("UPDATE exports SET progress = 100 WHERE status IN ('ready', 'expired')")
    op.execute("UPDATE requests SET identity_method = 'backend', identity_verified_at = received_at")
    op.drop_constraint(op.f("ck_requests_type"), "requests")
    op.drop_constraint(op.f("ck_requests_status"), "requests")
    _checked(
        "requests",
        type=TYPES,
        status=STATUSES,
        scope="scope IN ('account', 'person')",
        channel="channel IN ('portal', 'backend', 'letter', 'mail')",
        ground=GROUNDS,
        identity="status IN ('received', 'withdrawn', 'refused') OR identity_method IS NOT NULL",
    )
    _checked("exports", scope="scope IN ('account', 'person')", progress="progress BETWEEN 0 AND 100")


def _create_tables() -> None:
    op.create_table(
        "consent_records",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("consent_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("purpose IN ('product_news', 'surveys')", name=op.f("ck_consent_records_purpose")),
        sa.CheckConstraint(
            "state IN ('requested', 'given', 'withdrawal_requested', 'withdrawn', 'expired')",
            name=op.f("ck_consent_records_state"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_consent_records_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "consent_id", name=op.f("pk_consent_records")),
        sa.UniqueConstraint("account_id", "person_id", "purpose", "number", name="uq_consent_records_number"),
    )
    op.create_index(
        "ix_consent_records_open",
        "consent_records",
        ["at"],
        unique=False,
        postgresql_where=sa.text("state IN ('requested', 'withdrawal_requested')"),
    )
    op.create_table(
        "disclosures",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("disclosure_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("categories", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("safeguard", sa.String(), nullable=True),
        sa.Column("disclosed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("country ~ '^[A-Z]{2}$'", name=op.f("ck_disclosures_country")),
        sa.CheckConstraint("scope IN ('account', 'person')", name=op.f("ck_disclosures_scope")),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_disclosures_people"),
            ondelete="SET NULL (person_id)",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_disclosures_accounts")),
        sa.PrimaryKeyConstraint("account_id", "disclosure_id", name=op.f("pk_disclosures")),
    )
    op.create_table(
        "holder_sessions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("browser", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("password_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_holder_sessions_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "session_id", name=op.f("pk_holder_sessions")),
    )
    op.create_index(op.f("ix_holder_sessions_expires_at"), "holder_sessions", ["expires_at"], unique=False)
    op.create_table(
        "one_time_codes",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("code_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("mailed", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("purpose IN ('identity', 'password')", name=op.f("ck_one_time_codes_purpose")),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_one_time_codes_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "code_id", name=op.f("pk_one_time_codes")),
    )
    op.create_index(op.f("ix_one_time_codes_expires_at"), "one_time_codes", ["expires_at"], unique=False)
    op.create_table(
        "owner_replacements",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("replacement_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("checked_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("status IN ('waiting', 'done', 'stopped')", name=op.f("ck_owner_replacements_status")),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_owner_replacements_people"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_owner_replacements_accounts")),
        sa.PrimaryKeyConstraint("account_id", "replacement_id", name=op.f("pk_owner_replacements")),
    )
    op.create_index(
        "ix_owner_replacements_open",
        "owner_replacements",
        ["effective_at"],
        unique=False,
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "policy_announcements",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            name=op.f("fk_policy_announcements_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "person_id", "policy_version", name=op.f("pk_policy_announcements")),
    )
    op.create_table(
        "recipient_notices",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("disclosure_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("concerns", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("categories", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('rectification', 'erasure', 'restriction')", name=op.f("ck_recipient_notices_kind")),
        sa.CheckConstraint(
            "status IN ('pending', 'told', 'by_staff', 'impossible')", name=op.f("ck_recipient_notices_status")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "disclosure_id"],
            ["disclosures.account_id", "disclosures.disclosure_id"],
            name=op.f("fk_recipient_notices_disclosures"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "request_id"],
            ["requests.account_id", "requests.request_id"],
            name=op.f("fk_recipient_notices_requests"),
            ondelete="SET NULL (request_id)",
        ),
        sa.PrimaryKeyConstraint("account_id", "notice_id", name=op.f("pk_recipient_notices")),
    )
    op.create_index(
        "ix_recipient_notices_open",
        "recipient_notices",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'by_staff')"),
    )
