"""The demo: the whole life of an account, run on recorded traffic."""
