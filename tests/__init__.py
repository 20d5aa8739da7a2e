"""Tests of cloudpriv: unit, api, flows and benchmarks."""
