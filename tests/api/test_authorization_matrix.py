"""The matrix of authorization: every route of both planes, every kind of actor, accounts of one's own and of others.

Routes are those of openapi.yaml; what is expected of each cell follows from the rules in tests/authorization.py alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from cloudpriv.api.auth import LIFETIME, Tokens
from cloudpriv.app import create_app, create_processor_app
from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.controller import clients, sessions
from cloudpriv.controller.tables import Account, Person
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.actor import HOLDER, LOG_DATA_SCOPES, OPERATOR, Service
from cloudpriv.platform.ids import new_id
from tests.authorization import (
    ACTORS,
    AS_GOOD,
    AS_GOOD_HERE,
    BODIES,
    FORMS,
    HOLDERS,
    NEEDS,
    OPEN,
    QUERIES,
    RIGHTS,
    TARGETS,
    Verdict,
    expected,
)
from tests.backend import register
from tests.logdata import Caller, carry_out, device_token, issuer, log_transaction, owner_actor, reader_token
from tests.stack import fresh_database

METHODS = ("get", "post", "put", "patch", "delete")
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text())
FREELY = "1000000/minute"  # no limit stands in the way of a test's haste
PASSWORD = "four words make one"
SERVICE_OF: dict[str, Service] = {"own": "talk2m", "other account": "talk2m", "other service": "intesis"}
numbers = count(1)


@dataclass(frozen=True)
class Operation:
    """An operation of openapi.yaml."""

    name: str
    plane: str
    method: str
    path: str
    parameters: tuple[dict[str, Any], ...]
    succeeds: frozenset[int]
    callers: frozenset[str]

    def answers(self, app: Flask, ids: dict[str, str], token: str | None) -> TestResponse:
        """The request, about what `ids` name, with a bearer token."""
        if self.plane == "processor":
            ids = {**ids, "export_id": ids["log_export_id"]}
        by_parameter = {"t2mtoken": token} if token and self.path.startswith("/dmweb/") else {}
        headers = {"Authorization": f"Bearer {token}"} if token and not by_parameter else {}
        if any(parameter["name"] == "If-Match" for parameter in self.parameters):
            headers["If-Match"] = '"999"'
        options: dict[str, Any] = {"query_string": QUERIES[self.name](ids) | by_parameter} if self.name in QUERIES else {}
        options |= {"json": BODIES[self.name](ids)} if self.name in BODIES else {}
        options |= {"data": FORMS[self.name](ids) | by_parameter} if self.name in FORMS else {}
        with app.test_client() as http:
            return http.open(self.path.format(**ids), method=self.method, headers=headers, **options)

    def names(self, ids: dict[str, str], other: dict[str, str]) -> bool:
        """Whether a request about one account differs from that about another: else it is about the caller's own."""
        makers = [table[self.name] for table in (BODIES, QUERIES, FORMS) if self.name in table]
        paths = self.path.format(**ids), self.path.format(**other)
        same_number = {"number": "0", "tomorrow": ""}
        return paths[0] != paths[1] or any(make({**ids, **same_number}) != make({**other, **same_number}) for make in makers)


@dataclass(frozen=True)
class World:
    """Both planes' apps, what there is in them by target, and the actors' tokens, who belong to the account `own`."""

    apps: dict[str, Flask]
    ids: dict[str, dict[str, str]]
    tokens: dict[str, str]
    signer: Tokens
    processor: ProcessorServices
    controller: Services

    def token_of(self, actor: str, operation: Operation) -> str | None:
        """The bearer token of an actor at an operation."""
        need = NEEDS[operation.name]
        if actor == "backend with the scope":
            return self.backend(need)
        if actor == "backend with every other scope":
            return self.backend(*(clients.SCOPES - {need}))
        if actor == "staff":
            return self.backend("logdata:support")
        if actor in HOLDERS:
            return self.session(actor, operation)
        return self.tokens.get(actor)

    def session(self, actor: str, operation: Operation) -> str:
        """The token of a new session, since operations sign in and out; the processor plane looks at no session."""
        ids, now, role = self.ids["own"], self.processor.clock(), actor.removesuffix(" session")
        whose = UUID(ids["account_id"]), UUID(ids["person_id" if role == "owner" else "member_id"])
        session_id = new_id()
        if operation.plane != "processor":
            with self.controller.controller.transaction(OPERATOR, now) as tx:
                session_id = sessions.begin_token(tx, *whose, LIFETIME).session_id
        return self.signer.issue_session("talk2m", *whose, role, now, session_id=session_id)

    def free(self) -> None:
        """End every restriction: one that staff lifts goes on for the days in which people are told."""
        ended = {"restricted_for": None, "restriction_ends_at": None, "restriction_end_ground": None}
        with self.controller.controller.transaction(OPERATOR, self.processor.clock()) as tx:
            restricted = Account.status == "restricted"
            tx.session.execute(update(Account).where(restricted).values(status="active", **ended))
            tx.session.execute(update(Person).values(restricted_at=None, **ended))

    def backend(self, *scopes: str, service: Service = "talk2m") -> str:
        """The access token of a backend of a service."""
        return self.signer.issue(new_id(), service, " ".join(sorted(scopes)), self.processor.clock())


def operations() -> Iterator[Operation]:
    """Every operation that openapi.yaml describes."""
    for path, item in DOCUMENT["paths"].items():
        for method, spec in item.items():
            if method in METHODS:
                parameters = (*item.get("parameters", ()), *spec.get("parameters", ()))
                succeeds = frozenset(int(status) for status in spec["responses"] if int(status) < 400)
                callers = frozenset(scope for need in spec["security"] for scopes in need.values() for scope in scopes)
                yield Operation(
                    spec["operationId"], spec["x-plane"], method.upper(), path, tuple(parameters), succeeds, callers
                )


OPERATIONS = list(operations())


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    """Three customers in both planes: ours, another of our service, and one of the other service."""
    with ExitStack() as cleanup:
        database = cleanup.enter_context(fresh_database(stack))
        services, processor, worker = database.services("api"), database.processor("api"), database.processor("worker")
        for plane in (services.plane, processor.plane, worker.plane):
            cleanup.callback(plane.engine.dispose)
        services = replace(services, settings=replace(services.settings, rate_limit=FREELY, verify_rate_limit=FREELY))
        processor = replace(processor, settings=replace(processor.settings, rate_limit=FREELY))
        apps = {"controller": create_app(services), "processor": create_processor_app(processor)}
        made = World(apps, {}, {}, issuer(stack, processor), processor, services)
        client_id, secret = register(database)
        for target in TARGETS:
            made.ids[target] = {"client_id": client_id, "client_secret": secret, **furnished(made, worker, target)}
        made.tokens.update(actors(made))
        yield made


def furnished(world: World, worker: ProcessorServices, target: str) -> dict[str, str]:
    """An account with one of everything in both planes: the ids by the names that paths have for them."""
    service, name = SERVICE_OF[target], f"customer-{target.replace(' ', '-')}"
    token = world.backend(*clients.SCOPES, service=service)

    def send(method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        answer = world.apps["controller"].test_client().open(path, method=method, json=body, headers=headers)
        assert answer.status_code < 300, (path, answer.text)
        return answer.get_json(silent=True)

    make = partial(send, "POST")
    account = make("/v1/accounts", {"account_name": name})["id"]
    base = f"/v1/accounts/{account}"
    person = make(f"{base}/people", {"username": "kim", "role": "owner"})["id"]
    member = make(f"{base}/people", {"username": "alex", "role": "member"})["id"]
    for each in (person, member):
        send("PUT", f"{base}/people/{each}/credentials", {"password": PASSWORD})
    disclosure = make(f"{base}/disclosures", BODIES["record_disclosure"]({}))["id"]
    request = make(f"{base}/requests", {"type": "access"})
    due = make("/v1/accounts", {"account_name": f"{name}-due", "created_at": "2018-08-01T10:00:00Z"})["id"]
    planned = make("/v1/purges", {"account_id": due})["purge_id"]
    purge = send("GET", f"/v1/purges/{planned}", None)
    ids = {"member_id": member, "disclosure_id": disclosure}
    ids["replacement_id"] = make(f"{base}/owner-replacements", BODIES["replace_owner"](ids))["id"]
    another = make(f"{base}/people", {"username": "sam", "role": "member"})["id"]
    make(f"{base}/people/{another}/restriction", None)  # of which a recipient without an address is told by staff
    ids["notice_id"] = send("GET", f"{base}/recipient-notices", None)["items"][0]["id"]
    return {
        **ids,
        "service": service,
        "account_name": name,
        "username": "kim",
        "password": PASSWORD,
        "account_id": account,
        "person_id": person,
        "device_id": make(f"{base}/devices", {"serial": f"serial-{target}"})["id"],
        "hold_id": make(f"{base}/holds", BODIES["place_hold"]({}))["id"],
        "request_id": request["id"],
        "export_id": request["export_id"],
        "due_account_id": due,
        "purge_id": purge["id"],
        "run_id": purge["run_id"],
        "certificate_id": str(new_id()),
        **log_data(world, worker, UUID(account), target),
    }


def log_data(world: World, worker: ProcessorServices, account_id: UUID, target: str) -> dict[str, str]:
    """One of everything of the processor plane, made by the account's owner and a device, and carried out."""
    device, number = f"pump of {target}", str(next(numbers))
    session = world.signer.issue_session(
        SERVICE_OF[target], account_id, new_id(), "owner", worker.clock(), session_id=new_id()
    )
    owner = Caller(world.apps["processor"], session, account_id)

    def make(path: str, body: Any, caller: Caller = owner) -> Any:
        answer = caller.post(path, body)
        assert answer.status_code < 300, (path, answer.text)
        return answer.get_json()

    sender = make("/v1/logdata/tokens", {"kind": "device", "name": "sender", "device": device})["token"]
    points = BODIES["append_points"]({"number": number})
    assert Caller(owner.http.application, sender, account_id).post("/v1/logdata/points", points).status_code == 200
    program = make("/v1/logdata/tokens", {"kind": "reader", "name": "program"})["token"]
    reader = Caller(owner.http.application, program, account_id)
    request = BODIES["receive_subject_request"]({"number": number})
    make("/opendsr/v2/requests", request, reader)
    exported = make("/v1/logdata/exports", BODIES["order_export"]({}), reader)["id"]
    tomorrow = (worker.clock() + timedelta(days=1)).isoformat()
    carry_out(worker)
    return {
        "tomorrow": tomorrow,
        "instruction_id": make("/v1/logdata/instructions", BODIES["give_instruction"]({"tomorrow": tomorrow}), reader)["id"],
        "log_device": device,
        "log_export_id": exported,
        "deletion_id": make("/v1/logdata/deletions", BODIES["order_deletion"]({}), reader)["id"],
        "token_id": make("/v1/logdata/tokens", {"kind": "reader", "name": "spare"})["id"],
        "subject_request_id": request["subject_request_id"],
    }


def actors(world: World) -> dict[str, str]:
    """The tokens of actors that have one and the same at all routes: those that outlive the tests, or need not."""
    ids, processor, now = world.ids["own"], world.processor, world.processor.clock()
    account_id, person_id = UUID(ids["account_id"]), UUID(ids["person_id"])
    over = now - timedelta(minutes=11)
    revoked = reader_token(processor, account_id, now)
    with log_transaction(processor, owner_actor(account_id), now) as tx:
        tx.connection.exec_driver_sql(
            "UPDATE log_tokens SET revoked_at = now() WHERE token_id = (SELECT max(token_id::text)::uuid FROM log_tokens)"
        )
    return {
        "malformed token": "cpr_" + "x" * 66,
        "device token": device_token(processor, account_id, ids["log_device"], now),
        "reader token": reader_token(processor, account_id, now),
        "expired session": world.signer.issue_session("talk2m", account_id, person_id, "owner", over, session_id=new_id()),
        "revoked token": revoked,
    }


def fits(operation: Operation, status: int, verdict: Verdict) -> bool:
    """Whether a status is of the class that is expected."""
    return (
        status in operation.succeeds | AS_GOOD | {AS_GOOD_HERE.get(operation.name)}
        if verdict == "through"
        else status == verdict
    )


def cells(world: World, operation: Operation) -> Iterator[tuple[str, str, str, Verdict, TestResponse]]:
    """Every cell of an operation: plane, actor, target, what is expected, and what is answered."""
    planes = ("controller", "processor") if operation.plane == "both" else (operation.plane,)
    own = world.ids["own"]
    world.free()
    for plane in planes:
        for actor in ACTORS:
            for target in TARGETS:
                ids = {**world.ids[target], "number": str(next(numbers))}
                names = target != "own" and operation.names(ids, own)
                verdict = expected(plane, operation.name, actor, target, names=names)
                yield (
                    plane,
                    actor,
                    target,
                    verdict,
                    operation.answers(world.apps[plane], ids, world.token_of(actor, operation)),
                )


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_every_cell_is_as_the_rules_have_it(world: World, operation: Operation) -> None:
    found, wrong = 0, []
    for plane, actor, target, verdict, answer in cells(world, operation):
        found += 1
        if not fits(operation, answer.status_code, verdict):
            wrong.append((plane, actor, target, verdict, answer.status_code, answer.text[:200]))
    assert not wrong
    assert found == len(ACTORS) * len(TARGETS) * (2 if operation.plane == "both" else 1)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_no_answer_shows_anything_of_another_customer(world: World, operation: Operation) -> None:
    """An actor who asks about its own account, or about none, sees no id or name of another."""
    theirs = world.ids["other service"]
    markers = {theirs[name] for name in ("account_id", "person_id", "device_id", "hold_id", "request_id", "token_id")}
    markers |= {theirs[name] for name in ("member_id", "disclosure_id", "notice_id", "replacement_id", "export_id")}
    markers |= {theirs["account_name"], theirs["log_device"]}
    if operation.plane == "processor":
        others = world.ids["other account"]
        markers |= {others["account_id"], others["token_id"], others["log_device"]}
    ids = {**world.ids["own"], "number": str(next(numbers))}
    for plane in ("controller", "processor") if operation.plane == "both" else (operation.plane,):
        for actor in ACTORS:
            answer = operation.answers(world.apps[plane], ids, world.token_of(actor, operation))
            assert not [marker for marker in markers if marker in answer.text], actor


def test_every_operation_has_a_rule_and_every_rule_an_operation() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert set(names) == set(NEEDS)
    assert set(BODIES) | set(QUERIES) | set(FORMS) <= set(names)
    bodies = {spec["operationId"] for item in DOCUMENT["paths"].values() for spec in item.values()
              if "operationId" in spec and "requestBody" in spec}  # fmt: skip
    assert bodies == set(BODIES) | set(FORMS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_what_openapi_yaml_says_of_an_operation_is_the_rule(operation: Operation) -> None:
    need = NEEDS[operation.name]
    assert operation.callers == (frozenset() if need == OPEN else {need})


def test_the_rules_know_every_scope_of_either_plane() -> None:
    assert set(NEEDS.values()) - {OPEN} == clients.SCOPES | {HOLDER} | set().union(*LOG_DATA_SCOPES.values())
    assert set(RIGHTS) == set().union(*LOG_DATA_SCOPES.values())


def test_the_other_planes_app_has_no_such_route(world: World) -> None:
    for operation in OPERATIONS:
        if operation.plane != "both":
            other = "processor" if operation.plane == "controller" else "controller"
            answer = operation.answers(world.apps[other], {**world.ids["own"], "number": "0"}, None)
            assert answer.status_code == 404, operation
