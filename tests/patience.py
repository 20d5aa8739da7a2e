"""How long tests wait for what other processes and threads do, before it is taken for a fault."""

from typing import Final

PATIENCE: Final = 180.0  # seconds: a machine may be busy with other tests, and a thing that works is waited for no longer
