"""Alembic's entry: runs the revisions on the connection that `cloudpriv db upgrade` hands over."""

from alembic import context

from cloudpriv.metadata import PROCESSOR

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=PROCESSOR,
    compare_type=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
