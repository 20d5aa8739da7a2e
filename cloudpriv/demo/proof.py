"""The end of an account, and the proof: what is due, its erasure, and a look at everything that could still name it.

The proof trusts neither the API nor the classification: as the schema's owner it looks at the text of every row of every
table that the database has, and at every key of the bucket.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, literal_column, select, table, text

from cloudpriv.audit import certificates
from cloudpriv.bootstrap import Services
from cloudpriv.client.api import ApiClient
from cloudpriv.demo.steps import VERIFY, WAIT_SECONDS, Clients, OpenedAccount, await_status, refusal
from cloudpriv.demo.telling import Step, counted, require
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import erased_tables
from cloudpriv.retention.erase import hash_of

AUDIT: Final = "audit_events"
EVERY_TABLE: Final = text(
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"
)
Rows = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Erased:
    """An account that was purged, and what its purge says it erased."""

    account: OpenedAccount
    counts: Mapping[str, int]
    certificate_id: str


def list_due(clients: Clients, accounts: Sequence[OpenedAccount], step: Step) -> list[OpenedAccount]:
    """Those of the accounts that the policy says must go. Others in the same database are counted, not touched."""
    listed = {each["account_id"]: each for client in clients.values() for each in client.items("/v1/retention/due")}
    due = [account for account in accounts if account.account_id in listed]
    for account in due:
        told = listed[account.account_id]
        step.lines.append(f"{account.name}: idle since {told['last_activity_at'][:10]}, due since {told['due_since'][:10]}")
    others = len(listed) - len(due)
    step.did = f"{len(due)} of {counted(len(accounts), 'account')}" + (f"; {others} of others, which stay" if others else "")
    step.figures["due"] = [listed[account.account_id] for account in due]
    return due


def tell_due_days(clients: Clients, accounts: Iterable[OpenedAccount], step: Step) -> None:
    """Add when each account would be due if no more traffic came."""
    for account in accounts:
        told = clients[account.service].request("GET", f"/v1/accounts/{account.account_id}").json()
        step.lines.append(f"{account.name}: not due before {told['purge_due_on']}")


def purge(clients: Clients, approvers: Clients, due: Sequence[OpenedAccount], step: Step) -> list[Erased]:
    """Have every due account erased by the worker, approved by another client where a guard objects, and wait for it."""
    asked = [(account, _ask(clients, account)) for account in due]
    for account, purge_id in asked:
        _approve(clients[account.service], approvers[account.service], account, purge_id, step)
    erased = [_await_done(clients, account, purge_id) for account, purge_id in asked]
    total = sum(sum(each.counts.values()) for each in erased)
    step.did = f"{counted(len(erased), 'account')}, {total:,} rows and objects" if erased else "nothing, as the policy says"
    step.lines += [f"{each.account.name}: {_listed(each.counts)}" for each in erased]
    step.figures["purged"] = [{"account_id": each.account.account_id, "counts": dict(each.counts)} for each in erased]
    return erased


def verify_certificates(clients: Clients, erased: Sequence[Erased], step: Step) -> None:
    """Check each certificate as its receiver would, with nothing but the log's public key. Raises ProofError."""
    for each in erased:
        client = clients[each.account.service]
        document = _certificate(client, each.certificate_id)
        checkpoint = certificates.verify(document, client.request("GET", "/v1/audit/key").body.decode())
        step.lines.append(f"{each.account.name}: signed, and in the log {checkpoint.origin} of {checkpoint.size} entries")
    step.did = f"{counted(len(erased), 'certificate')}, offline" if erased else "nothing was purged"


def _certificate(client: ApiClient, certificate_id: str) -> dict[str, Any]:
    """The certificate, once the schedule has entered it in the log."""
    ends = time.monotonic() + WAIT_SECONDS
    while refusal(client, "GET", path := f"/v1/certificates/{certificate_id}") == 409 and time.monotonic() < ends:
        time.sleep(0.1)
    document: dict[str, Any] = client.request("GET", path).json()
    return document


def prove_gone(clients: Clients, owner: Services, erased: Sequence[Erased], export_ids: Collection[str], step: Step) -> None:
    """Raises ValueError when anything but the audit trail still names an erased account, or the ledger does not."""
    for account in (each.account for each in erased):
        _require_unknown(clients[account.service], account, export_ids)
    ids = [each.account.account_id for each in erased]
    naming = rows_naming(owner, ids)
    left = {name: count for name, count in naming.items() if count and name != AUDIT}
    require(not left, f"rows still name an erased account: {_listed(left)}")
    require(not objects_naming(owner, ids), "the object store still holds an object of an erased account")
    require(ledger_entries(owner, ids) == len(ids), "the ledger does not hold every erasure")
    step.lines.append(f"{len(naming)} tables and the bucket searched: only {naming[AUDIT]} audit events name them")
    step.lines.append("their data keys are gone; the ledger holds the hash of each id")
    step.did = f"nothing is left of {counted(len(ids), 'account')}"
    step.figures |= {"tables_searched": len(naming), "audit_events": naming[AUDIT], "rows_left": 0, "objects_left": 0}


def rows_naming(owner: Services, account_ids: Collection[str]) -> dict[str, int]:
    """By table, how many rows hold one of the ids anywhere: as text, or as the hexadecimal digits of bytes."""
    patterns = [f"%{form}%" for account_id in account_ids for form in (account_id, UUID(account_id).hex)]
    with owner.controller.engine.connect() as connection:
        found: dict[str, int] = {}
        for name in connection.scalars(EVERY_TABLE).all():
            row = literal_column("row_").op("::")(literal_column("text"))
            query = select(func.count()).select_from(table(name).alias("row_")).where(row.like(func.any(patterns)))
            found[name] = connection.scalar(query) or 0
    return found


def objects_naming(owner: Services, account_ids: Collection[str]) -> list[str]:
    """Keys of objects and unfinished uploads of the bucket that hold one of the ids."""
    keys = [*owner.exports.keys(""), *(key for key, _ in owner.exports.unfinished(""))]
    return [key for key in keys if any(account_id in key for account_id in account_ids)]


def ledger_entries(owner: Services, account_ids: Iterable[str]) -> int:
    """How many of the accounts the ledger holds, by the hash of their ids."""
    hashes = [hash_of(UUID(account_id)) for account_id in account_ids]
    ledger = CONTROLLER.tables["ledger"]
    with owner.controller.engine.connect() as connection:
        return connection.scalar(select(func.count()).where(ledger.c.account_hash.in_(hashes))) or 0


def rows_of(owner: Services, accounts: Iterable[OpenedAccount]) -> Rows:
    """How many rows each account has in each table that goes with it."""
    with owner.controller.engine.connect() as connection:
        return {
            account.account_id: {
                each.name: connection.scalar(select(func.count()).where(each.c.account_id == UUID(account.account_id))) or 0
                for each in erased_tables(CONTROLLER)
            }
            for account in accounts
        }


def prove_untouched(before: Rows, after: Rows, step: Step) -> None:
    """Raises ValueError unless the accounts that stay have every row that they had."""
    require(before == after, "rows of an account that stays are gone")
    total = sum(sum(rows.values()) for rows in after.values())
    untouched = f"untouched: {counted(total, 'row')} of {counted(len(after), 'account')}"
    step.did = "; ".join([step.did or "nothing was purged", *([untouched] if after else [])])
    step.figures |= {"accounts_kept": len(after), "rows_kept": total}


def _require_unknown(client: ApiClient, account: OpenedAccount, export_ids: Collection[str]) -> None:
    asked = {"account_name": account.name, "username": account.username, "password": account.password}
    require(refusal(client, "GET", f"/v1/accounts/{account.account_id}") == 404, f"the API still shows {account.name}")
    require(refusal(client, "POST", VERIFY, asked) == 401, f"the password of {account.name} is still taken")
    for export_id in export_ids:
        require(refusal(client, "GET", f"/v1/exports/{export_id}") == 404, "the export can still be read")


def _ask(clients: Clients, account: OpenedAccount) -> str:
    answer = clients[account.service].request("POST", "/v1/purges", json={"account_id": account.account_id})
    return str(answer.json()["purge_id"])


def _approve(planner: ApiClient, approver: ApiClient, account: OpenedAccount, purge_id: str, step: Step) -> None:
    planned = planner.request("GET", f"/v1/purges/{purge_id}").json()
    if planned["status"] != "waiting":
        return
    for finding in planner.request("GET", f"/v1/purge-runs/{planned['run_id']}").json()["findings"]:
        step.lines.append(f"{account.name}: guard {finding['guard']}: {finding['detail']}")
    path = f"/v1/purges/{purge_id}/approve"
    require(refusal(planner, "POST", path, {}) == 409, "whoever planned an erasure could approve it")
    approver.request("POST", path, json={})
    step.lines.append(f"{account.name}: approved by a second client; the first may not")


def _await_done(clients: Clients, account: OpenedAccount, purge_id: str) -> Erased:
    done = await_status(clients[account.service], f"/v1/purges/{purge_id}", "done", also=("cancelled",))
    return Erased(account, done["counts"], done["certificate_id"])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()) if count)
