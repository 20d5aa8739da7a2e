"""Clients of the HTTP API: the records they send and how they send them."""
