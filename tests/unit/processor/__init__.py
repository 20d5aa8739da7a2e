"""Unit tests of the processor plane."""
