"""Migrations of the processor plane's database."""
