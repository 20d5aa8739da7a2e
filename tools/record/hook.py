"""What the recorded OpenVPN server calls as its script: keeps the environment of connect and disconnect.

`hook.py FOLDER [file]`: writes FOLDER/<nanoseconds>.json; any login is accepted and none is kept.
"""

import json
import os
import sys
import time
from pathlib import Path

if os.environ["script_type"] in {"client-connect", "client-disconnect"}:  # noqa: SIM112 (OpenVPN's spelling)
    event = Path(sys.argv[1]) / f"{time.time_ns()}.json"
    unfinished = event.with_suffix(".part")
    unfinished.write_text(json.dumps(dict(os.environ)), encoding="utf-8")
    unfinished.rename(event)
