"""A backend of another service finds nothing at any route: 404, as for what does not exist, whatever it sends."""

from dataclasses import dataclass

import pytest
from flask import Flask
from werkzeug.routing import Rule

from cloudpriv.api.endpoint import OPEN, access_of
from cloudpriv.app import documented_app
from cloudpriv.platform.actor import HOLDER
from tests import authorization
from tests.backend import Backend

NOBODY = "00000000-0000-7000-8000-00000000000f"
BODIES = {
    "people.add_person": {"username": "kim"},
    "people.set_credentials": {"password": "correct horse 1"},
    "devices.add_device": {"serial": "1"},
    "subject_requests.receive_request": {"type": "access"},
    "request_askers.verify_request": {"method": "backend"},
    "request_askers.send_request_code": {},
    "subject_requests.decide_request": {"decision": "grant"},
    "subject_requests.extend_request": {"reason": "Many people are concerned."},
    "disclosures.record_disclosure": authorization.BODIES["record_disclosure"]({}),
    "owner_replacements.replace_owner": authorization.BODIES["replace_owner"]({"member_id": NOBODY}),
    "holds.place_hold": {"scope": "account", "authority": "Example District Court", "reference": "T 1"},
}
QUERIES = {f"restriction.lift_{what}": {"ground": "claims_settled"} for what in ("account", "person")}
APP = documented_app("controller")
ROUTES = [
    (method, rule)
    for rule in APP.url_map.iter_rules()
    # What is open to everybody belongs to nobody; of what is the holder's own, see the matrix of authorization.
    if rule.arguments and access_of(APP, rule.endpoint).scope not in {*OPEN, HOLDER}
    for method in sorted((rule.methods or set()) - {"OPTIONS"})
]


@dataclass(frozen=True)
class Whole:
    """The ids of an account with one of everything."""

    ids: dict[str, str]

    def path(self, rule: Rule) -> str:
        """A rule's path with these ids."""
        path = rule.rule
        for name, found in self.ids.items():
            path = path.replace(f"<uuid:{name}>", found)
        assert "<" not in path, f"{rule.rule} needs an id that is not made here"
        return path


@pytest.fixture
def whole(backend: Backend) -> Whole:
    """An account of our service."""
    account = backend.open_account()
    base = f"/v1/accounts/{account}"
    request = backend.post(f"{base}/requests", {"type": "access"}).get_json()
    disclosure = backend.post(f"{base}/disclosures", BODIES["disclosures.record_disclosure"]).get_json()["id"]
    person = backend.post(f"{base}/people", {"username": "kim"}).get_json()["id"]
    evidence = {"documents": "register of companies", "note": "called back"}
    replacement = backend.post(f"{base}/owner-replacements", {"person_id": person, "evidence": evidence}).get_json()["id"]
    restricted = backend.post(f"{base}/people", {"username": "alex"}).get_json()["id"]
    backend.post(f"{base}/people/{restricted}/restriction")  # of which a recipient without an address is told by staff
    ids = {
        "account_id": account,
        "person_id": person,
        "disclosure_id": disclosure,
        "replacement_id": replacement,
        "notice_id": backend.get(f"{base}/recipient-notices").get_json()["items"][0]["id"],
        "device_id": backend.post(f"{base}/devices", {"serial": "1"}).get_json()["id"],
        "hold_id": backend.post(f"{base}/holds", BODIES["holds.place_hold"]).get_json()["id"],
        "request_id": request["id"],
        "export_id": request["export_id"],
    }
    closed = backend.open_account("to-be-closed")
    purge = backend.send("DELETE", f"/v1/accounts/{closed}", etag='"1"').get_json()["purge_id"]
    due = backend.open_account("due", created_at="2018-08-01T10:00:00Z")
    planned = backend.post("/v1/purges", {"account_id": due}).headers["Location"]
    return Whole({**ids, "purge_id": purge, "run_id": backend.get(planned).get_json()["run_id"]})


def test_every_route_with_an_id_is_404_to_another_service(
    app: Flask, backend: Backend, other_backend: Backend, whole: Whole
) -> None:
    for method, rule in ROUTES:
        body = BODIES.get(rule.endpoint, {}) if method in ("POST", "PUT", "PATCH") else None
        query = QUERIES.get(rule.endpoint) if method == "DELETE" else None
        answer = other_backend.send(method, whole.path(rule), body, etag='"1"', query_string=query)
        assert answer.status_code == 404, (method, rule.rule, answer.text)
    untouched = backend.get(f"/v1/accounts/{whole.ids['account_id']}")
    assert (untouched.status_code, untouched.headers["ETag"]) == (200, '"1"')


def test_the_same_requests_find_something_in_their_own_service(backend: Backend, whole: Whole) -> None:
    for method, rule in ROUTES:
        if method == "GET":
            assert backend.get(whole.path(rule)).status_code in (200, 409), rule.rule


def test_no_list_shows_anything_of_another_service(other_backend: Backend, whole: Whole) -> None:
    for path in ("/v1/accounts", "/v1/purges", "/v1/purge-runs", "/v1/retention/due"):
        assert other_backend.get(path).get_json() == {"items": [], "next_cursor": None}, path
    assert other_backend.get(f"/v1/audit/events?account_id={whole.ids['account_id']}").status_code == 404
    assert other_backend.post("/v1/accounts/lookup", {"account_name": "acme-water"}).status_code == 404
    assert other_backend.post("/v1/purges", {"account_id": whole.ids["account_id"]}).status_code == 404
