"""Tests of the portal, by Flask's test client."""
