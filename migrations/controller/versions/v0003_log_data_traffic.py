"""Traffic of log data, as the processor plane tells it: by account id and time, into a box that it cannot look into."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

API = "cloudpriv_api"
WORKER = "cloudpriv_worker"
TELLER = "cloudpriv_teller"  # of the processor plane's workers


def upgrade() -> None:
    """Make the box, and let the teller put into it."""
    op.create_table(
        "log_data_traffic",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("told_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "told_id", name=op.f("pk_log_data_traffic")),
    )
    op.execute(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{TELLER}') THEN CREATE ROLE {TELLER} NOLOGIN; "
        "END IF; END $$"
    )
    op.execute(f"GRANT SELECT, DELETE ON log_data_traffic TO {WORKER}")
    op.execute(f"GRANT INSERT ON log_data_traffic TO {TELLER}")
    op.execute(f"GRANT SELECT ON log_data_traffic TO {API}")
