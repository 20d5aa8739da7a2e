"""The whole life of an account, told in steps: on the recording that comes with the package, or on the user's own file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from cloudpriv.bootstrap import Services
from cloudpriv.demo import proof, recording, servers, sources, steps
from cloudpriv.demo.steps import Clients, OpenedAccount
from cloudpriv.demo.telling import Telling, require
from cloudpriv.platform.actor import SERVICES

# Old enough that traffic of any age falls due when the policy says so.
OWN_ACCOUNT: Final[dict[str, Any]] = {
    "service": "talk2m",
    "account_name": "own-traffic",
    "created_at": datetime(2018, 1, 1, tzinfo=UTC),
    "company_name": "Example Ltd",
    "company_id": "EX-1",
    "owner": {"username": "sasha", "name": "Sasha Example", "email": "sasha@example.com", "locale": "en"},
    "device": [],
}


@dataclass(frozen=True)
class Stage:
    """What the story runs on: a client for each service's backend, one to approve, and the owner's eyes for the proof."""

    clients: Clients
    approvers: Clients
    owner: Services


def tell_recording(telling: Telling, folder: Path, *, suffix: str = "") -> None:
    """Every step on the recording; `suffix` keeps the names of accounts apart from those of earlier runs in the folder.

    Raises StepFailed.
    """
    with _stage(telling, folder) as stage:
        told = recording.accounts()
        with telling.step("open accounts") as step:
            accounts = [_open(stage, each, suffix) for each in told]
            step.did = f"{len(told)} with their owners, passwords and {sum(len(each['device']) for each in told)} devices"
            step.figures["account_ids"] = [account.account_id for account in accounts]
        with telling.step("ingest traffic") as step:
            recorded = sources.recorded({each["account_name"]: each["account_name"] + suffix for each in told})
            steps.ingest_sources(stage.clients, recorded, step)
            expected = sources.totals(chain.from_iterable(source.rows() for source in recorded))
            steps.check_sums(stage.clients, accounts, expected, step)
        only_old = [account for account, each in zip(accounts, told, strict=True) if each["traffic"] == ["2018"]]
        _end_of_life(telling, stage, accounts, must_be_due=only_old)


def tell_own(telling: Telling, folder: Path, file: Path, csv_map: str, *, suffix: str = "") -> None:
    """Every step on the user's own CSV file, for which an account is opened; it is purged only if the policy says so.

    Raises StepFailed.
    """
    with _stage(telling, folder) as stage:
        with telling.step("open an account") as step:
            account = _open(stage, OWN_ACCOUNT, suffix)
            step.did = f"{account.name} of {account.service}, as of {OWN_ACCOUNT['created_at']:%Y-%m-%d}"
            step.figures["account_ids"] = [account.account_id]
        with telling.step("ingest traffic") as step:
            steps.ingest_own(stage.clients, file, csv_map, account, step)
        _end_of_life(telling, stage, [account])


@contextmanager
def _stage(telling: Telling, folder: Path) -> Iterator[Stage]:
    with ExitStack() as running:
        with telling.step("start the stack") as step:
            started, owner, revision = running.enter_context(servers.stack(folder))
            step.did = ", ".join(f"{name} {version}" for name, version in started.versions.items())
            step.lines.append(f"in {folder}, schema at {revision}")
            step.figures |= {"versions": dict(started.versions), "folder": str(folder), "revision": revision}
        with telling.step("register two backends") as step:
            backends, people = ({each: servers.register_backend(owner, each) for each in SERVICES} for _ in range(2))
            url = running.enter_context(servers.processes())
            clients, approvers = (
                {each: running.enter_context(servers.connect(url, credentials[each])) for each in SERVICES}
                for credentials in (backends, people)
            )
            step.did = f"{' and '.join(SERVICES)} (OAuth 2.0); API, worker and schedule are ready at {url}"
        yield Stage(clients, approvers, owner)


def _open(stage: Stage, told: Mapping[str, Any], suffix: str) -> OpenedAccount:
    return steps.open_account(stage.clients[told["service"]], told, told["account_name"] + suffix)


def _end_of_life(
    telling: Telling, stage: Stage, accounts: Sequence[OpenedAccount], *, must_be_due: Sequence[OpenedAccount] = ()
) -> None:
    """Steps 5 to 10. The account that is exported is the first, so that a purge has an archive to erase, too."""
    first = accounts[0]
    with telling.step("verify a password") as step:
        steps.verify_password(stage.clients[first.service], first, step)
    with telling.step("export an account") as step:
        export_id = steps.export(stage.clients[first.service], first, step)
    with telling.step("show what is due") as step:
        due = proof.list_due(stage.clients, accounts, step)
        require(not must_be_due or due == list(must_be_due), "what is due is not what has been idle for seven years")
        kept = [account for account in accounts if account not in due]
        proof.tell_due_days(stage.clients, kept, step)
    before = proof.rows_of(stage.owner, kept)
    with telling.step("purge what is due") as step:
        erased = proof.purge(stage.clients, stage.approvers, due, step)
    with telling.step("verify the certificates") as step:
        proof.verify_certificates(stage.clients, erased, step)
    with telling.step("prove that nothing is left") as step:
        if erased:
            proof.prove_gone(stage.clients, stage.owner, erased, [export_id] if first in due else [], step)
        proof.prove_untouched(before, proof.rows_of(stage.owner, kept), step)
