"""Migrations of the controller plane's database."""
