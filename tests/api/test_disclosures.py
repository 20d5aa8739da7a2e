"""Disclosures, telling recipients, restriction, replacements of owners and consents over HTTP."""

from typing import Any

import pytest

from tests.backend import Backend

DISCLOSURE = {
    "recipient": "Nordic Distribution AB",
    "categories": ["identification"],
    "purpose": "sales",
    "country": "SE",
    "reference": "ND-17",
}
EVIDENCE = {"documents": "register of companies", "note": "called back"}


@pytest.fixture
def base(backend: Backend) -> str:
    """Where an account is."""
    return f"/v1/accounts/{backend.open_account()}"


def add(backend: Backend, base: str, **members: Any) -> str:
    """A person in it; their id."""
    return str(backend.post(f"{base}/people", {"username": "kim", **members}).get_json()["id"])


def test_a_disclosure_is_recorded_and_read_back(backend: Backend, base: str) -> None:
    made = backend.post(f"{base}/disclosures", DISCLOSURE)
    assert made.status_code == 201, made.text
    found = made.get_json()
    assert DISCLOSURE.items() <= found.items()
    assert (found["email"], found["safeguard"], found["person_id"]) == (None, None, None)
    assert backend.get(made.headers["Location"]).get_json() == found
    assert backend.get(f"{base}/disclosures").get_json() == {"items": [found], "next_cursor": None}


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"country": "CN"}, "transfer_refused"),
        ({"country": "se"}, "invalid"),
        ({"categories": ["log_data"]}, "invalid"),
        ({"categories": []}, "invalid"),
        ({"safeguard": "trust"}, "invalid"),
        ({"disclosed_at": "2999-01-01T00:00:00Z"}, "invalid"),
    ],
)
def test_a_disclosure_that_nothing_allows_is_refused(backend: Backend, base: str, members: Any, kind: str) -> None:
    answer = backend.post(f"{base}/disclosures", DISCLOSURE | members)
    assert (answer.status_code, answer.get_json()["type"]) == (422, f"/problems/{kind}")
    assert backend.get(f"{base}/disclosures").get_json()["items"] == []


def test_clauses_allow_a_transfer_anywhere(backend: Backend, base: str) -> None:
    clauses = {"country": "CN", "safeguard": "standard_contractual_clauses"}
    assert backend.post(f"{base}/disclosures", DISCLOSURE | clauses).get_json()["safeguard"] == clauses["safeguard"]


def test_a_recipient_without_an_address_is_told_by_staff(backend: Backend, base: str) -> None:
    for _ in range(2):
        backend.post(f"{base}/disclosures", DISCLOSURE)
    assert backend.post(f"{base}/restriction").status_code == 204
    first, second = backend.get("/v1/recipient-notices").get_json()["items"]
    assert (first["kind"], first["status"], first["told_at"]) == ("restriction", "by_staff", None)
    told = backend.post(f"{base}/recipient-notices/{first['id']}/told").get_json()
    assert (told["status"], told["told_at"] is None) == ("told", False)
    assert backend.post(f"{base}/recipient-notices/{first['id']}/impossible").status_code == 409
    assert backend.post(f"{base}/recipient-notices/{second['id']}/impossible").get_json()["status"] == "impossible"
    assert backend.get("/v1/recipient-notices").get_json()["items"] == []
    assert len(backend.get(f"{base}/recipient-notices").get_json()["items"]) == 2


def test_a_restriction_begins_and_its_end_is_announced(backend: Backend, base: str) -> None:
    person = f"{base}/people/{add(backend, base)}"
    for restricted in (person, base):
        assert [backend.post(f"{restricted}/restriction").status_code for _ in range(2)] == [204, 204]
        assert backend.get(restricted).status_code == 423
        assert backend.send("DELETE", f"{restricted}/restriction").status_code == 422  # for no reason
        announced = backend.send("DELETE", f"{restricted}/restriction?ground=reason_ended")
        assert (announced.status_code, announced.get_json()["restricted_for"]) == (200, ["staff"])
        assert backend.get(f"{restricted}/restriction").get_json() == announced.get_json()
        assert announced.get_json()["restriction_ends_at"] is not None
        assert backend.get(restricted).status_code == 423


def test_an_owner_is_replaced_after_a_check_and_that_is_stopped(backend: Backend, base: str) -> None:
    member = add(backend, base, role="member")
    made = backend.post(f"{base}/owner-replacements", {"person_id": member, "evidence": EVIDENCE})
    assert (made.status_code, made.get_json()["status"], made.get_json()["evidence"]) == (201, "waiting", EVIDENCE)
    assert backend.get(made.headers["Location"]).get_json() == made.get_json()
    again = backend.post(f"{base}/owner-replacements", {"person_id": member, "evidence": EVIDENCE})
    assert again.status_code == 409
    assert backend.send("DELETE", made.headers["Location"]).status_code == 204
    listed = backend.get(f"{base}/owner-replacements").get_json()["items"]
    assert [each["status"] for each in listed] == ["stopped"]
    unchecked = backend.post(f"{base}/owner-replacements", {"person_id": member, "evidence": {"note": "trust me"}})
    assert unchecked.status_code == 422


def test_nobody_may_be_sent_mail_who_did_not_consent(backend: Backend, base: str) -> None:
    person = f"{base}/people/{add(backend, base)}"
    items = backend.get(f"{person}/consents").get_json()["items"]
    assert [(each["purpose"], each["holds"], each["headers"]) for each in items] == [
        ("product_news", False, {}),
        ("surveys", False, {}),
    ]
    backend.post(f"{person}/restriction")
    assert backend.get(f"{person}/consents").status_code == 423
