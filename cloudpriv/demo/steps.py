"""What a backend does with the API in the course of an account's life: each function is one step of the demo."""

import hashlib
import io
import json
import secrets
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cloudpriv.client.api import ApiClient, ApiError
from cloudpriv.client.checkpoint import Report
from cloudpriv.client.ingest import ingest, ingest_file
from cloudpriv.demo.sources import Source, Totals
from cloudpriv.demo.telling import Step, counted, require
from cloudpriv.platform.actor import Service

Clients = Mapping[Service, ApiClient]
WAIT_SECONDS: Final = 300.0  # for a worker: enough to export some ten million records of the user's own
VERDICTS: Final = ("accepted", "merged", "rejected")
SUMMED: Final = ("sessions", "bytes_from_device", "bytes_to_device")
VERIFY: Final = "/v1/credentials/verify"
HINT: Final = "Where the first pump stood"


@dataclass(frozen=True)
class OpenedAccount:
    """An account that the demo opened: its id, its name, and its owner with a password made for this run."""

    account_id: str
    service: Service
    name: str
    username: str
    password: str = field(repr=False)


def open_account(client: ApiClient, told: Mapping[str, Any], name: str) -> OpenedAccount:
    """Open an account under `name` with its owner, a password with a hint, and its devices, by the keys of accounts.toml."""
    customer = {key: told[key] for key in ("company_name", "company_id")}
    account = {"account_name": name, "customer": customer, "created_at": told["created_at"]}
    account_id = client.request("POST", "/v1/accounts", json=account).json()["id"]
    person = {**told["owner"], "role": "owner", **customer}
    person_id = client.request("POST", f"/v1/accounts/{account_id}/people", json=person).json()["id"]
    password = secrets.token_urlsafe(18)
    credentials = {"password": password, "hint": HINT}
    client.request("PUT", f"/v1/accounts/{account_id}/people/{person_id}/credentials", json=credentials)
    for device in told["device"]:
        client.request("POST", f"/v1/accounts/{account_id}/devices", json=device)
    return OpenedAccount(account_id, told["service"], name, person["username"], password)


def ingest_sources(clients: Clients, sources: Iterable[Source], step: Step) -> None:
    """Send the traffic of every source as the backend of its service."""
    reports = [(source, ingest(clients[source.service], source.rows())) for source in sources]
    step.lines += [_ingested(source.name, report) for source, report in reports]
    step.figures["sources"] = [{"source": source.name, **_verdicts(report)} for source, report in reports]
    _tell_sum([report for _, report in reports], step)


def ingest_own(clients: Clients, file: Path, csv_map: str, account: OpenedAccount, step: Step) -> None:
    """Send the user's file; its devices are registered on the way. Raises ValueError when no row of it could be taken."""
    with TemporaryDirectory() as scratch:  # no checkpoint beside the file: an interrupted demo begins anew
        report = ingest_file(
            clients[account.service],
            file,
            file_format="csv",
            csv_map=csv_map,
            account=account.name,
            create_devices=True,
            state=Path(scratch) / "state",
        )
    step.lines.append(_ingested(file.name, report))
    step.figures |= {"sources": [{"source": file.name, **_verdicts(report)}], "devices_created": report.devices_created}
    _tell_sum([report], step)
    require(report.accepted > 0, f"none of the {report.rows} rows could be taken: is this the right map?")
    found, _, _ = _summed(clients[account.service], account.account_id)
    require(found == report.accepted, f"the database has {found} sessions where {report.accepted} were accepted")


def check_sums(clients: Clients, accounts: Iterable[OpenedAccount], expected: Totals, step: Step) -> None:
    """Compare what the API adds up with what was sent. Raises ValueError where they differ."""
    for account in accounts:
        found = _summed(clients[account.service], account.account_id)
        require(found == expected[account.name], f"the traffic of {account.name} does not add up to what was sent")
    step.did += "; sessions and bytes in the database are those sent"


def verify_password(client: ApiClient, account: OpenedAccount, step: Step) -> None:
    """The right password is taken, a wrong one is not. Raises ValueError otherwise."""
    asked = {"account_name": account.name, "username": account.username, "password": account.password}
    began = time.perf_counter()
    answer = client.request("POST", VERIFY, json=asked).json()
    seconds = time.perf_counter() - began
    require(answer["account_id"] == account.account_id, "the password was found to be another account's")
    wrong = refusal(client, "POST", VERIFY, asked | {"password": "wrong" + account.password})
    require(wrong == 401, f"a wrong password was answered with {wrong}")
    step.did = f"{account.username} of {account.name}: the right one 200 after {seconds:.2f} s, a wrong one 401"
    step.figures |= {"account_id": account.account_id, "right": 200, "wrong": 401}


def export(client: ApiClient, account: OpenedAccount, step: Step) -> str:
    """Request a copy of the account's data, download the archive and check every hash; the export's id."""
    path = f"/v1/accounts/{account.account_id}/requests"
    export_id = client.request("POST", path, json={"type": "access"}).json()["export_id"]
    made = await_status(client, f"/v1/exports/{export_id}", "ready", also=("failed",))
    archive = client.request("GET", f"/v1/exports/{export_id}/archive").body
    require(hashlib.sha256(archive).hexdigest() == made["sha256"], "the archive is not the one that was made")
    members = check_archive(archive)
    sessions, _, _ = _summed(client, account.account_id)
    exported = next(member["rows"] for member in members if member["name"] == "traffic.csv")
    require(exported == sessions, f"the archive has {exported} sessions of {sessions}")
    step.did = f"{account.name}: {len(archive):,} bytes, {len(members)} members, every SHA-256 right"
    step.lines += [_member(member) for member in members]
    step.figures |= {"account_id": account.account_id, "size": len(archive), "members": members}
    return str(export_id)


def check_archive(archive: bytes) -> list[dict[str, Any]]:
    """The members as the manifest tells them. Raises ValueError unless it tells of all, and of each what it is."""
    with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
        manifest = json.loads(unpacked.read("manifest.json"))
        members: list[dict[str, Any]] = manifest["members"]
        require(unpacked.testzip() is None, "the archive is damaged")
        listed = Counter([*(member["name"] for member in members), "manifest.json", "manifest.jws"])
        require(listed == Counter(unpacked.namelist()), "the manifest does not list every member")
        for member in members:
            digest = hashlib.sha256(unpacked.read(member["name"])).hexdigest()
            require(digest == member["sha256"], f"{member['name']} is not what the manifest says")
    return members


def await_status(client: ApiClient, path: str, wanted: str, *, also: Sequence[str] = ()) -> dict[str, Any]:
    """The resource once its status is `wanted`. Raises ValueError for one of `also`, TimeoutError when neither comes."""
    ends = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < ends:
        found: dict[str, Any] = client.request("GET", path).json()
        require(found["status"] not in also, f"the worker ended with {found['status']}")
        if found["status"] == wanted:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"no worker was done within {WAIT_SECONDS:.0f} s")


def refusal(client: ApiClient, method: str, path: str, body: object = None) -> int:
    """The status of a request that must be refused; 0 when it is not."""
    try:
        client.request(method, path, json=body)
    except ApiError as refused:
        return refused.status
    return 0


def _summed(client: ApiClient, account_id: str) -> tuple[int, int, int]:
    months = client.request("GET", f"/v1/accounts/{account_id}/traffic/summary").json()["months"]
    sessions, sent, received = (sum(month[name] for month in months) for name in SUMMED)
    return sessions, sent, received


def _tell_sum(reports: Iterable[Report], step: Step) -> None:
    whole = {name: sum(getattr(report, name) for report in reports) for name in VERDICTS}
    whole["rows"] = sum(report.rows for report in reports)
    require(whole["rows"] == sum(whole[name] for name in VERDICTS), "accepted, merged and rejected are not all rows")
    step.did = "{rows:,} records = {accepted:,} new sessions + {merged:,} merged + {rejected:,} rejected".format(**whole)
    step.figures |= whole


def _verdicts(report: Report) -> dict[str, Any]:
    return {name: getattr(report, name) for name in ("rows", *VERDICTS)} | {"reasons": dict(report.reasons)}


def _ingested(name: str, report: Report) -> str:
    reasons = ", ".join(f"{count:,} {code}" for code, count in sorted(report.reasons.items()))
    verdicts = f"{report.accepted:,} new, {report.merged:,} merged, {report.rejected:,} rejected"
    return f"{name}: {report.rows:,} records: {verdicts}{f' ({reasons})' if reasons else ''}"


def _member(member: Mapping[str, Any]) -> str:
    rows = "" if member["rows"] is None else f", {counted(member['rows'], 'row')}"
    return f"{member['name']}: {member['bytes']:,} bytes{rows}, SHA-256 {member['sha256'][:16]}…"
