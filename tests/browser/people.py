"""Who visits the portal, and what is held of them: accounts in every state that a page tells of."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, text

from cloudpriv.controller import accounts, credentials, devices, people
from cloudpriv.controller.tables import TrafficSession
from cloudpriv.platform.actor import HOLDER, OPERATOR, WORKER, Actor, Service
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.passwords import Passwords
from cloudpriv.portal.i18n import LANGUAGES
from cloudpriv.rights import announcements, handling, owners, requests, restriction
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents import doors, history
from cloudpriv.rights.consents import links as consent_links
from cloudpriv.rights.owners import Evidence
from cloudpriv.rights.requests import Identity
from cloudpriv.rights.tables import SubjectRequest
from tests.browser.site import Site, until
from tests.holders import PASSWORD

YEARS: Final = timedelta(days=1000)
DAYS: Final = timedelta(days=1)
HASHES: Final = Passwords(time_cost=1, memory_kib=8, parallelism=1, concurrency=1)
SERVICE: Final[Service] = "talk2m"
# Exports in states that they do not keep: no worker takes up one that another has a lease of.
STATES: Final[dict[str, dict[str, Any]]] = {
    "pending": {"progress": 0, "failure": None, "until": datetime.now(UTC) + DAYS},
    "running": {"progress": 40, "failure": None, "until": datetime.now(UTC) + DAYS},
    "failed": {"progress": 40, "failure": "internal", "until": None},
    "expired": {"progress": 100, "failure": None, "until": None},
}
ANOTHER: Final = """
    INSERT INTO exports (account_id, export_id, request_id, scope, language, status, progress, failure, attempts, created_at,
                         lease_until, size)
    SELECT account_id, :export, request_id, scope, language, :state, :progress, :failure, 1, created_at, :until, size
    FROM exports WHERE export_id = :ready
"""


@dataclass(frozen=True)
class Visitor:
    """A person who can sign in, and in which account."""

    account_id: UUID
    person_id: UUID
    account_name: str
    username: str
    role: str

    @property
    def email(self) -> str:
        """Their registered address."""
        return f"{self.username}@{self.account_name}.example"

    @property
    def actor(self) -> Actor:
        """They themselves, signed in."""
        kind: Final = "owner" if self.role == "owner" else "member"
        return Actor(kind, str(self.person_id), SERVICE, frozenset({HOLDER}), self.account_id)

    @property
    def identity(self) -> Identity:
        """That they gave their password."""
        return Identity("password", f"{self.role} {self.person_id}")


def open_account(site: Site, account_name: str, username: str = "kim", **identity: Any) -> Visitor:
    """A new account that was opened years ago, and its owner."""
    customer = {"company_name": "Acme Water Ltd", "company_id": "SE556000-0001"}
    with site.transaction() as tx:
        opened = accounts.open_account(tx, SERVICE, account_name, customer, datetime.now(UTC) - YEARS)
    return join(site, opened.row.account_id, account_name, username, "owner", **identity)


def join(site: Site, account_id: UUID, account_name: str, username: str, role: str = "member", **identity: Any) -> Visitor:
    """A new person of an account, with a password."""
    document = {"username": username, "name": f"{username.title()} Example", "email": f"{username}@{account_name}.example"}
    with site.transaction() as tx:
        person_id = people.add_person(tx, account_id, role, document | identity).row.person_id
        credentials.set_credentials(tx, account_id, person_id, HASHES.hash(PASSWORD), None)
    return Visitor(account_id, person_id, account_name, username, role)


def furnish(site: Site) -> dict[str, Visitor]:
    """Everybody whom the pages are shown to, by what is special about them."""
    owner = open_account(site, "acme-water", address="Storgatan 1\n302 42 Halmstad", phones=["+46 35 000 00 00"])
    member = join(site, owner.account_id, "acme-water", "alex")
    found = {
        "owner": owner,
        "member": member,
        "newcomer": open_account(site, "northern-lights-district-heating-cooperative-of-the-upper-valley", "robin"),
        "restricted": open_account(site, "still-water", "toni"),
        "leaver": open_account(site, "last-drop", "sasha"),
        "doubter": open_account(site, "two-captains", "charlie"),
        "sleeper": open_account(site, "deep-sleep", "robyn"),
        "halted": open_account(site, "standing-water", "jo"),
        "waiter": open_account(site, "late-harvest", "kit"),
        "held": open_account(site, "long-goodbye", "val"),
    }
    found["silenced"] = join(site, found["sleeper"].account_id, "deep-sleep", "mo")
    found |= {f"parting-{each}": join(site, found["sleeper"].account_id, "deep-sleep", f"lee-{each}") for each in LANGUAGES}
    _announce(site, [each for name, each in found.items() if name != "doubter" and each.role == "owner"])
    _use(site, owner, member)
    _consent(site, owner)
    _ask(site, owner, member)
    restricted = _request(site, found["restricted"], "restriction", details={"ground": "accuracy", "text": "It is wrong."})
    site.paths["restriction"] = str(restricted.request_id)
    site.paths["closing"] = str(_request(site, found["leaver"], "erasure").request_id)
    _replace_owner(site, found["doubter"])
    _change_their_mind(site, found["sleeper"])
    _wait(site, found["waiter"])
    _hold_up(site, found["held"])
    with site.transaction() as tx:
        restriction.restrict_account(tx, found["halted"].account_id)
        restriction.restrict_person(tx, found["silenced"].account_id, found["silenced"].person_id)
    return found


def _use(site: Site, owner: Visitor, member: Visitor) -> None:
    """Devices, and a year of traffic, by either person and by nobody."""
    names = ("Pump house 1", "Chlorination, eastern reservoir", None, *(f"Well {number}" for number in range(1, 53)))
    with site.transaction() as tx:
        known = [make_device(tx, owner.account_id, number, name) for number, name in enumerate(names)]
    now = datetime.now(UTC).replace(microsecond=0)
    by = (owner.person_id, member.person_id, None)
    rows = [make_session(owner.account_id, known[i % 5], by[i % 3], i, now - 3 * i * DAYS) for i in range(1, 130)]
    with site.transaction() as tx:
        tx.session.execute(insert(TrafficSession), rows)
    with site.owner.begin() as connection:
        seen = {"seen": now - 3 * DAYS, "account": owner.account_id}
        connection.execute(text("UPDATE accounts SET last_traffic_at = :seen WHERE account_id = :account"), seen)
        connection.execute(text("UPDATE devices SET last_seen_at = :seen WHERE account_id = :account"), seen)


def make_device(tx: Any, account_id: UUID, number: int, name: str | None) -> UUID:
    """A device of an account."""
    identity = {"serial": f"1234-{number:04d}-24", "common_name": f"cosy-{number:04d}", "name": name, "model": "Cosy 131"}
    return devices.add_device(tx, account_id, "gateway", identity).row.device_id


def make_session(account_id: UUID, device_id: UUID, person_id: UUID | None, number: int, start: datetime) -> dict[str, Any]:
    """A row of traffic; the first one of a device lasts."""
    return {
        "account_id": account_id,
        "session_key": blake2b(number.to_bytes(8, "big"), digest_size=16).digest(),
        "device_id": device_id,
        "person_id": person_id,
        "started_at": start,
        "ended_at": None if number == 1 else start + timedelta(seconds=number * 97),
        "bytes_from_device": number**3 * 1013,
        "bytes_to_device": number**2 * 709,
        "protocol": "openvpn",
        "remote_address": "2001:db8:85a3:8d3:1319:8a2e:370:7348" if number % 2 else "192.0.2.1",
        "received_at": start,
    }


def _consent(site: Site, owner: Visitor) -> None:
    """One consent that is given, one that was asked for; and the links of their mails."""
    key, tokens = _ask_consents(site, owner)
    with site.transaction(Actor("client", "unauthenticated")) as tx:
        doors.confirm(tx, site.policy, tokens["product_news"], lambda _: "en")
    site.paths["confirmed"], site.paths["to_confirm"] = tokens["product_news"], tokens["surveys"]
    unsubscribe = consent_links.unsubscription(site.url, key, owner.person_id, "product_news")
    site.paths["unsubscribe"] = unsubscribe.rpartition("/")[2]


def _ask_consents(site: Site, asker: Visitor) -> tuple[DataKey, dict[str, str]]:
    """Say yes to everything; the account's key, and the tokens of the mails' links by their purposes."""
    with site.transaction(asker.actor) as tx:
        for purpose in ("product_news", "surveys"):
            consents.ask(tx, site.policy, asker.account_id, asker.person_id, purpose, language="en")
        key = accounts.find_account(tx, asker.account_id).key
        address = people.address_of(key, people.find_person(tx, asker.account_id, asker.person_id))
        asked = {row.purpose: row.consent_id for row in history.rows_of(tx, asker.account_id, asker.person_id)}
    links = {name: consent_links.confirmation(site.url, key, each, address) for name, each in asked.items()}
    return key, {name: link.rpartition("/")[2] for name, link in links.items()}


def _change_their_mind(site: Site, asker: Visitor) -> None:
    """Say yes and then no, so that the links of the mails are over, and whoever unsubscribes has done so before."""
    key, tokens = _ask_consents(site, asker)
    with site.transaction(asker.actor) as tx:
        for purpose in tokens:
            consents.withdraw(tx, site.policy, asker.account_id, asker.person_id, purpose)
    site.paths["over"] = tokens["surveys"]
    unsubscribed = consent_links.unsubscription(site.url, key, asker.person_id, "product_news")
    site.paths["unsubscribed"] = unsubscribed.rpartition("/")[2]


def _ask(site: Site, owner: Visitor, member: Visitor) -> None:
    """A request in every state."""
    copy = _request(site, owner, "access")
    site.paths["copy"] = str(copy.request_id)
    _request(site, member, "access", person_id=member.person_id)
    _export(site, owner, copy.request_id)
    objection = _request(site, owner, "objection", person_id=owner.person_id, details={"text": "I do not want it."})
    site.paths["own_objection"] = str(_request(site, member, "objection", person_id=member.person_id).request_id)
    letter = _request(site, member, "restriction", person_id=member.person_id, identity=None, channel="letter")
    site.paths["letter"] = str(letter.request_id)
    withdrawn = _request(site, owner, "objection", details={"text": "Never mind."})
    with site.transaction(owner.actor) as tx:
        handling.withdraw(tx, withdrawn.request_id)
    site.paths["withdrawn"] = str(withdrawn.request_id)
    refused = _request(site, owner, "objection", details={"text": "Nor for the account."})
    with site.transaction(OPERATOR) as tx:
        handling.refuse(tx, site.policy, refused.request_id, "compelling_grounds", "The traffic is needed to bill you.")
    site.paths.update(objection=str(objection.request_id), refused=str(refused.request_id))


def _export(site: Site, owner: Visitor, request_id: UUID) -> None:
    """The export of a request once it is ready; and what would be there in another state."""

    def ready() -> UUID | None:
        with site.transaction(owner.actor) as tx:
            export = requests.read_request(tx, request_id).answer
        return export.export_id if export.status == "ready" else None

    found = until(ready, "the archive")
    site.paths["ready"] = str(found)
    for state, different in STATES.items():
        site.paths[state] = str(new_id())
        values = {"export": site.paths[state], "state": state, "ready": found, **different}
        with site.owner.begin() as connection:
            connection.execute(text(ANOTHER), values)


def _wait(site: Site, waiter: Visitor) -> None:
    """A letter that should have been answered, and a copy whose export has failed."""
    received_at = datetime.now(UTC) - 50 * DAYS
    late = _request(site, waiter, "objection", identity=None, channel="letter", received_at=received_at)
    failed = _request(site, waiter, "access")
    site.paths.update(late=str(late.request_id), without_copy=str(failed.request_id))

    def is_ready() -> bool:
        with site.transaction(waiter.actor) as tx:
            return requests.read_request(tx, failed.request_id).answer.status == "ready"

    until(is_ready, "the archive")
    with site.owner.begin() as connection:
        about = {"id": failed.request_id}
        connection.execute(
            text("UPDATE requests SET status = 'in_progress', completed_at = NULL WHERE request_id = :id"), about
        )
        connection.execute(text("UPDATE exports SET status = 'failed', failure = 'internal' WHERE request_id = :id"), about)


def _hold_up(site: Site, held: Visitor) -> None:
    """A closing whose time is over, and that waits since a member has restricted their own data."""
    member = join(site, held.account_id, held.account_name, "noa")
    site.paths["held"] = str(_request(site, held, "erasure").request_id)
    _request(site, member, "restriction", person_id=member.person_id, details={"ground": "claims", "text": "I need it."})
    with site.owner.begin() as connection:
        over = {"by": 15 * DAYS, "id": held.account_id}
        connection.execute(text("UPDATE accounts SET closes_at = closes_at - :by WHERE account_id = :id"), over)
        connection.execute(text("UPDATE requests SET effective_at = effective_at - :by WHERE account_id = :id"), over)


def _request(site: Site, asker: Visitor, type_: str, **options: Any) -> SubjectRequest:
    with site.transaction(asker.actor) as tx:
        known = handling.receive(
            tx, site.policy, asker.account_id, type_, **{"channel": "portal", "identity": asker.identity, **options}
        )
        return known.row


def _replace_owner(site: Site, doubter: Visitor) -> None:
    heir = join(site, doubter.account_id, doubter.account_name, "sam")
    evidence = Evidence("Extract of the register of companies, 2 June 2026", "Called back at the company's number.")
    with site.transaction() as tx:
        first = owners.start_replacement(tx, doubter.account_id, heir.person_id, evidence)
        owners.stop(tx, doubter.account_id, first.row.replacement_id)
        owners.start_replacement(tx, doubter.account_id, heir.person_id, evidence)


def _announce(site: Site, told: list[Visitor]) -> None:
    """Tell every owner of the policy in force, as they were there before; these say that they have seen it."""
    with site.owner.begin() as connection:
        connection.execute(text("UPDATE people SET created_at = created_at - interval '900 days'"))
    with site.worker.controller.transaction(WORKER, datetime.now(UTC)) as tx:
        announcements.announce(tx, site.policy, limit=100)
    for each in told:
        with site.transaction(each.actor) as tx:
            announcements.acknowledge(tx, site.policy, each.account_id, each.person_id)
