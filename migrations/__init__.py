"""Alembic migrations, one folder a plane, with the grants of each database role."""
