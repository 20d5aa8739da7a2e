"""Requests of data subjects about log data, which the customer hands on as their controller (OpenDSR)."""
