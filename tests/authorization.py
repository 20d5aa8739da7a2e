"""Who may do what, as the design has it: rules written by hand, from which the matrix of authorization is expected.

Nothing here is taken from the routes but their names: a route without a rule fails the matrix, and so does a rule without a
route.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

Ids = Mapping[str, str]
Verdict = Literal["through", 401, 403, 404]

ACTORS: Final = (
    "none",
    "malformed token",
    "backend with the scope",
    "backend with every other scope",
    "staff",
    "device token",
    "reader token",
    "owner session",
    "member session",
    "expired session",
    "revoked token",
)
UNKNOWN: Final = frozenset({"none", "malformed token", "expired session", "revoked token"})
VENDOR: Final = frozenset({"backend with the scope", "backend with every other scope", "staff"})
# An account of the actor's own, another of the same service, and one of the other service.
TARGETS: Final = ("own", "other account", "other service")

OPEN: Final = "open to everybody"
HOLDER: Final = "holder"
HOLDERS: Final = frozenset({"owner session", "member session"})
# What each operation needs: a scope of backends, or a right that customers' tokens and owners have.
NEEDS: Final[dict[str, str]] = {
    # the controller plane
    **dict.fromkeys(("open_account", "change_account", "close_account"), "accounts:write"),
    **dict.fromkeys(("add_person", "change_person", "remove_person"), "accounts:write"),
    **dict.fromkeys(("list_accounts", "look_up_account", "read_account", "list_people", "read_person"), "accounts:read"),
    "set_credentials": "credentials:write",
    **dict.fromkeys(("verify", "send_hint"), "credentials:verify"),
    **dict.fromkeys(("add_device", "change_device", "remove_device"), "devices:write"),
    **dict.fromkeys(("list_devices", "read_device"), "devices:read"),
    "ingest": "traffic:write",
    **dict.fromkeys(("list_sessions", "summarise"), "traffic:read"),
    **dict.fromkeys(("list_due", "list_purges", "read_purge", "list_runs", "read_run", "read_forecast"), "retention:read"),
    "plan_purge": "retention:write",
    **dict.fromkeys(("approve_purge", "approve_run"), "retention:approve"),
    **dict.fromkeys(("place_hold", "release_hold"), "holds:write"),
    **dict.fromkeys(("list_holds", "read_hold"), "holds:read"),
    **dict.fromkeys(("receive_request", "verify_request", "decide_request", "extend_request"), "privacy:write"),
    "send_request_code": "privacy:write",
    **dict.fromkeys(("withdraw_request", "restart_request"), "privacy:write"),
    **dict.fromkeys(("list_requests", "list_open_requests", "read_request", "read_export"), "privacy:read"),
    "download_archive": "privacy:read",
    **dict.fromkeys(("record_disclosure", "note_told", "note_impossible"), "privacy:write"),
    **dict.fromkeys(("list_disclosures", "read_disclosure", "list_recipient_notices"), "privacy:read"),
    "list_notices_for_staff": "privacy:read",
    **dict.fromkeys(("restrict_account", "lift_account", "restrict_person", "lift_person"), "privacy:write"),
    **dict.fromkeys(("read_account_restriction", "read_person_restriction"), "privacy:read"),
    "list_consents": "privacy:read",
    **dict.fromkeys(("replace_owner", "stop_replacement"), "privacy:write"),
    **dict.fromkeys(("list_replacements", "read_replacement"), "privacy:read"),
    **dict.fromkeys(("read_me", "change_me", "read_own_account", "list_own_devices", "list_own_traffic"), HOLDER),
    **dict.fromkeys(("list_own_access", "list_own_consents", "ask", "list_own_requests", "read_own_request"), HOLDER),
    **dict.fromkeys(("withdraw_own_request", "start_export", "read_own_export", "download_own_archive"), HOLDER),
    "sign_out": HOLDER,
    "list_events": "audit:read",
    **dict.fromkeys(("read_certificate", "read_checkpoint", "read_key", "read_policy"), OPEN),
    **dict.fromkeys(("sign_in", "issue_token", "key_set", "metadata"), OPEN),
    **dict.fromkeys(("healthz", "readyz", "metrics", "openapi", "docs"), OPEN),
    # the processor plane
    **dict.fromkeys(("make_token", "list_tokens", "revoke_token"), "logdata:tokens"),
    "list_access": "logdata:oversee",
    "append_points": "logdata:append",
    **dict.fromkeys(("list_log_devices", "list_tags", "read_points", "read_aggregates"), "logdata:read"),
    **dict.fromkeys(("order_export", "list_log_exports", "read_log_export", "download_log_export"), "logdata:read"),
    "read_deletion": "logdata:read",
    "order_deletion": "logdata:delete",
    **dict.fromkeys(("getstatus", "getewons", "getewon", "getdata", "syncdata"), "logdata:read"),
    **dict.fromkeys(("getstatus_by_form", "getewons_by_form", "getewon_by_form"), "logdata:read"),
    **dict.fromkeys(("getdata_by_form", "syncdata_by_form"), "logdata:read"),
    **dict.fromkeys(("delete", "delete_by_form", "clean", "clean_by_form"), "logdata:delete"),
    **dict.fromkeys(("give_instruction", "withdraw_instruction", "set_retention"), "logdata:instruct"),
    **dict.fromkeys(("list_instructions", "read_instruction", "read_retention", "read_record"), "logdata:oversee"),
    "read_points_for_support": "logdata:support",
    **dict.fromkeys(("discover", "read_opendsr_certificate"), OPEN),
    **dict.fromkeys(("receive_subject_request", "cancel_subject_request"), "logdata:instruct"),
    **dict.fromkeys(("read_subject_request", "read_subject_request_status"), "logdata:read"),
    "read_subject_request_results": "logdata:read",
}
# Of the processor plane: the vendor's clients are refused, but where an instruction of the customer opens something.
RIGHTS: Final[dict[str, frozenset[str]]] = {
    "logdata:append": frozenset({"device token"}),
    "logdata:oversee": frozenset({"reader token", "owner session"}),
    "logdata:read": frozenset({"reader token"}),
    "logdata:delete": frozenset({"reader token"}),
    "logdata:instruct": frozenset({"reader token"}),
    "logdata:tokens": frozenset({"owner session"}),
    "logdata:support": frozenset({"staff", "backend with the scope"}),
}
# What there is nothing of in the world that the matrix is tried in.
EMPTY: Final = frozenset({"read_certificate", "read_checkpoint", "read_key"})
# Of the account holder's own: what owners alone may see, and what of a whole account is out of a member's sight.
OWNERS_ALONE: Final = frozenset({"list_own_devices"})
OF_WHOLE_ACCOUNT: Final = frozenset({"read_own_request", "withdraw_own_request", "read_own_export", "download_own_archive"})
# What is answered to who names something that is out of sight, where that is not 404.
NAMED: Final[dict[str, Verdict]] = {
    "verify": 401,  # as any wrong password
    "send_hint": "through",  # as to anybody, so that nothing is learned
    "ingest": "through",  # each record is rejected by itself
    "read_points_for_support": 403,  # as without any instruction
}
# Success with another status than 2xx: what the request is for was done already, or waits for somebody else; and the ETag
# that is sent is none, so that nothing is changed.
AS_GOOD: Final = frozenset({409, 412})
AS_GOOD_HERE: Final = {"cancel_subject_request": 400}  # OpenDSR has no 409

BODIES: Final[dict[str, Callable[[Ids], Any]]] = {
    "open_account": lambda ids: {"account_name": f"new-{ids['number']}"},
    "look_up_account": lambda ids: {"account_name": ids["account_name"]},
    "change_account": lambda _: {},
    "add_person": lambda ids: {"username": f"new-{ids['number']}"},
    "change_person": lambda _: {},
    "set_credentials": lambda ids: {"password": ids["password"]},
    "verify": lambda ids: {name: ids[name] for name in ("account_name", "username", "password")},
    "send_hint": lambda ids: {name: ids[name] for name in ("account_name", "username")},
    "sign_in": lambda ids: {name: ids[name] for name in ("service", "account_name", "username", "password")},
    "add_device": lambda ids: {"serial": f"new-{ids['number']}"},
    "change_device": lambda _: {},
    "ingest": lambda ids: [
        {"account": ids["account_id"], "device": ids["device_id"], "session": ids["number"], "source": "matrix",
         "started_at": "2026-01-31T12:00:00Z", "duration_s": 90}
    ],
    "plan_purge": lambda ids: {"account_id": ids["due_account_id"]},
    "place_hold": lambda _: {"scope": "account", "authority": "Example District Court", "reference": "T 1"},
    "receive_request": lambda _: {"type": "access"},
    "verify_request": lambda _: {"method": "backend"},
    "send_request_code": lambda ids: {"person_id": ids["person_id"]},
    "decide_request": lambda _: {"decision": "refuse", "ground": "excessive", "reason": "It is the hundredth."},
    "extend_request": lambda _: {"reason": "Many people are concerned."},
    "record_disclosure": lambda _: {
        "recipient": "Nordic Distribution AB", "categories": ["account"], "purpose": "sales", "country": "SE",
    },
    "replace_owner": lambda ids: {
        "person_id": ids["member_id"], "evidence": {"documents": "register of companies", "note": "called back"},
    },
    "change_me": lambda _: {},
    "ask": lambda ids: {"type": "access", "about": "person", "password": ids["password"]},
    "start_export": lambda ids: {"about": "person", "password": ids["password"]},
    "download_own_archive": lambda ids: {"password": ids["password"]},
    "append_points": lambda ids: [{"tag": "level", "time": "2026-01-31T12:00:00Z", "value": int(ids["number"])}],
    "order_export": lambda _: {"format": "csv"},
    "order_deletion": lambda _: {"all": True},
    "give_instruction": lambda ids: {"kind": "support_read", "until": ids["tomorrow"]},
    "set_retention": lambda _: {"rules": []},
    "receive_subject_request": lambda ids: {
        "regulation": "gdpr",
        "subject_request_id": f"{int(ids['number']):08d}-0000-4000-8000-000000000000",
        "subject_request_type": "access",
        "submitted_time": "2026-01-31T12:00:00Z",
        "subject_identities": [
            {"identity_type": "email", "identity_value": "kim@customer.example", "identity_format": "raw"}
        ],
    },
    "make_token": lambda _: {"kind": "device", "name": "another", "device": "another pump"},
}  # fmt: skip
DATAMAILBOX: Final[dict[str, Callable[[Ids], dict[str, str]]]] = {
    "getstatus": lambda _: {},
    "getewons": lambda _: {},
    "getewon": lambda ids: {"name": ids["log_device"]},
    "getdata": lambda _: {},
    "syncdata": lambda _: {"createTransaction": "true"},
    "delete": lambda _: {"all": "true"},
    "clean": lambda _: {"all": "true"},
}
QUERIES: Final[dict[str, Callable[[Ids], dict[str, str]]]] = {
    "lift_account": lambda _: {"ground": "reason_ended"},
    "lift_person": lambda _: {"ground": "reason_ended"},
    "list_events": lambda ids: {"account_id": ids["account_id"]},
    "read_aggregates": lambda _: {"bucket": "PT1H"},
    **DATAMAILBOX,
}
FORMS: Final[dict[str, Callable[[Ids], dict[str, str]]]] = {
    "issue_token": lambda ids: {
        "grant_type": "client_credentials", "client_id": ids["client_id"], "client_secret": ids["client_secret"],
    },
    **{f"{name}_by_form": make for name, make in DATAMAILBOX.items()},
}  # fmt: skip


def expected(plane: str, operation: str, actor: str, target: str, *, names: bool) -> Verdict:
    """What the design says of an actor at an operation that is about the target; `names`: the request names it."""
    need = NEEDS[operation]
    if need == OPEN:
        return 404 if operation in EMPTY else "through"
    if need == HOLDER:
        return _of_holder(operation, actor, target, names=names)
    if plane == "controller":
        return _of_controller(operation, actor, target, names=names)
    return _of_processor(operation, need, actor, target, names=names)


def _of_controller(operation: str, actor: str, target: str, *, names: bool) -> Verdict:
    """Backends alone: with the scope, in their own service."""
    if actor in HOLDERS:
        return 403
    if actor not in VENDOR:
        return 401
    if actor != "backend with the scope":
        return 403
    if target == "other service" and names:
        return NAMED.get(operation, 404)
    return "through"


def _of_holder(operation: str, actor: str, target: str, *, names: bool) -> Verdict:
    """Account holders alone, in their own account; a member sees what is about that person."""
    if actor in VENDOR:
        return 403
    if actor not in HOLDERS:
        return 401
    if actor == "member session" and operation in OWNERS_ALONE:
        return 403
    out_of_sight = target != "own" or (actor == "member session" and operation in OF_WHOLE_ACCOUNT)
    return 404 if out_of_sight and (names or operation in OF_WHOLE_ACCOUNT) else "through"


def _of_processor(operation: str, need: str, actor: str, target: str, *, names: bool) -> Verdict:
    """Customers alone, in their own account; the vendor by an instruction, in its own service."""
    if actor in UNKNOWN:
        return 401
    if actor not in RIGHTS[need]:
        return 403
    out_of_sight = target == "other service" if actor in VENDOR else target != "own"
    return NAMED.get(operation, 404) if out_of_sight and names else "through"
