"""A restored database of log data, as an operator meets it: no process starts before `logdata restored --execute`."""

import json
import subprocess
import sys
from typing import Any

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.embedded.stack import of_plane
from cloudpriv.platform.errors import RestoredError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor.storage import restored
from cloudpriv.processor.storage.restored import MARK, Mark
from tests.factories import NOW
from tests.logdata import make_log_account
from tests.patience import PATIENCE
from tests.points import send, sender
from tests.stack import TestDatabase

STARTS = (["serve"], ["worker", "--burst"], ["schedule"])
BEHIND = "cloudpriv: log data's database is older than its bucket: run `cloudpriv logdata restored`\n"


def run(database: TestDatabase, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cloudpriv.cli", *words]
    environment = of_plane(database.environment(), "processor")
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def told(database: TestDatabase, *words: str) -> dict[str, Any]:
    done = run(database, "logdata", "restored", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_nothing_starts_on_a_restored_database_until_it_is_accepted(
    database: TestDatabase, processor: ProcessorServices
) -> None:
    send(sender(processor, make_log_account(processor)), ("t", NOW, 1))
    restored.write(processor.objects, MARK, Mark(NOW, new_id()))
    for start in STARTS:
        refused = run(database, *start, "--plane", "processor")
        assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", BEHIND)
    found = told(database)
    assert (found["chunks_without_object"], found["objects_without_chunk"]) == (0, 0)
    with pytest.raises(RestoredError):
        restored.require_current(processor.plane, processor.objects, processor.clock)
    accepted = told(database, "--execute", "--revoke-tokens")
    assert (accepted["instructions_withdrawn"], accepted["tokens_revoked"]) == (0, 1)
    assert run(database, "worker", "--plane", "processor", "--burst").returncode == 0
    assert run(database, "logdata", "restored", "--revoke-tokens").returncode == 2
