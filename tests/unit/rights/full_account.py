"""An account with something of two people in every table that an archive shows, told apart by canaries.

What is put in follows from the tables, so that a new one is filled, and looked for, by itself.
"""

import os
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Column, Date, DateTime, Engine, Integer, LargeBinary, Table, Uuid, insert
from sqlalchemy.dialects.postgresql import INET

from cloudpriv.audit import events
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.platform.classify import classification_of, exported_tables
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.rights.archive import schemas as archive_schemas
from tests.exports import make_session
from tests.factories import NOW, make_account, make_device, make_person, transaction

MADE_OTHERWISE: Final = {"accounts", "people", "credentials", "devices", "traffic"}
FIXED: Final[dict[str, Any]] = {
    "country": "SE", "scope": "person", "role": "member", "remote_address": "192.0.2.1", "started_at": NOW,
}  # fmt: skip


@dataclass
class FullAccount:
    """The account, its two people, and the ids of their rows by table."""

    account_id: UUID
    people: dict[str, UUID]
    ids: dict[tuple[str, str], UUID] = field(default_factory=dict)

    def of(self, who: str) -> list[str]:
        """What is only of this person: canaries and ids, wherever they might be found."""
        own = [str(each) for (_, whose), each in self.ids.items() if whose == who]
        return [f"canary-{who}", str(self.people[who]), *own]


def full_account(services: Services, owner: Engine) -> FullAccount:
    """Kim, who is told nothing of Robin; and Robin."""
    account_id = make_account(services, account_name="acme-canary").row.account_id
    device_id = make_device(services, account_id, serial="1234-0042-24", name="Pump of canary-robin").row.device_id
    made = FullAccount(account_id, {})
    for number, who in enumerate(("kim", "robin"), start=1):
        made.people[who] = make_person(services, account_id, username=f"canary-{who}", name=f"canary-{who}").row.person_id
        with transaction(services) as tx:
            credentials.set_credentials(tx, account_id, made.people[who], "not a hash", None)
        make_session(
            services, account_id, device_id, number, person_id=made.people[who], end_reason=f"canary-{who}", protocol="=1+1"
        )
        _fill(services, owner, made, who)
        _look(services, made, who)
    return made


def _fill(services: Services, owner: Engine, made: FullAccount, who: str) -> None:
    with transaction(services) as tx:
        key = accounts.find_account(tx, made.account_id).key
    with owner.begin() as connection:
        for table in exported_tables(CONTROLLER):
            if table.name not in MADE_OTHERWISE:
                connection.execute(insert(table), _row(table, made, who, key))


def _row(table: Table, made: FullAccount, who: str, key: DataKey) -> dict[str, Any]:
    last = list(table.primary_key.columns)[-1]
    record_id = made.ids.setdefault((table.name, who), new_id()) if isinstance(last.type, Uuid) else new_id()
    row: dict[str, Any] = {"account_id": made.account_id, "person_id": made.people[who], last.name: record_id}
    for constraint in table.foreign_key_constraints:
        for element in constraint.elements:
            referred = made.ids.get((element.column.table.name, who))
            if referred is not None and element.parent.name not in row and not element.parent.nullable:
                row[element.parent.name] = referred
    known = {column.name for column in table.columns}
    row = {
        name: value for name, value in row.items() if name in known and (name != last.name or isinstance(last.type, Uuid))
    }
    return {column.name: row.get(column.name, _value(table, column, who, row, key, record_id)) for column in table.columns}


def _value(table: Table, column: Column[Any], who: str, row: dict[str, Any], key: DataKey, record_id: UUID) -> Any:
    mark = classification_of(column)
    if mark is not None and mark.sealed is not None:
        return key.seal(record_id, mark.sealed, document(mark.sealed, who))
    if column.name in FIXED:
        return FIXED[column.name]
    listed = list(archive_schemas.listed(table, column))
    if listed:
        return listed[-1] if column.name == "status" else listed[0]
    if isinstance(column.type, Uuid):
        return None if column.nullable else new_id()
    values: dict[type[Any], Any] = {
        DateTime: NOW, Date: date(2026, len(who), 1), Integer: 1, LargeBinary: os.urandom(16), ARRAY: ["identification"],
        INET: "192.0.2.1",
    }  # fmt: skip
    return next((value for kind, value in values.items() if isinstance(column.type, kind)), f"canary-{who}")


def document(purpose: str, who: str) -> dict[str, Any]:
    """A sealed document with all members that its schema names."""
    members = archive_schemas.document("documents")["$defs"][purpose].get("properties", {"note": {}})
    return {
        name: [f"canary-{who}"] if schema.get("type") == "array" else f"canary-{who}" for name, schema in members.items()
    }


def _look(services: Services, made: FullAccount, who: str) -> None:
    """The person looks at themselves, and at the other if there is one already."""
    actor = Actor("owner", str(made.people[who]), "talk2m", frozenset({HOLDER}), made.account_id)
    with transaction(services, actor, datetime(2026, 6, 1, 13, tzinfo=UTC)) as tx:
        for person_id in made.people.values():
            events.record(tx, "person.read", account_id=made.account_id, subject_id=person_id, fields=[f"f{len(who)}"])
