"""Customers' tokens: made by the owner, shown once, good for their kind and account alone, revoked at once."""

from tests.logdata import Caller

TOKENS = "/v1/logdata/tokens"
LOG = "/v1/logdata/access-log"


def test_an_owner_makes_lists_and_revokes_tokens(owner: Caller) -> None:
    made = owner.post(TOKENS, {"kind": "reader", "name": "dashboard"})
    assert made.status_code == 201, made.text
    document = made.get_json()
    reader = Caller(owner.http.application, document.pop("token"), owner.account_id)
    listed = owner.get(TOKENS).get_json()["items"]
    assert listed == [document]
    assert reader.get(LOG).status_code == 200
    assert owner.get(TOKENS).get_json()["items"][0]["last_used_at"] is not None
    assert owner.send("DELETE", f"{TOKENS}/{document['id']}").status_code == 204
    assert reader.get(LOG).status_code == 401
    assert owner.get(TOKENS).get_json()["items"][0]["revoked_at"] is not None


def test_a_devices_token_is_for_the_device_that_the_owner_names(owner: Caller) -> None:
    first = owner.post(TOKENS, {"kind": "device", "name": "first", "device": "pump-3"}).get_json()
    second = owner.post(TOKENS, {"kind": "device", "name": "second", "device": "pump-3"}).get_json()
    assert (first["device"], first["device_id"]) == ("pump-3", second["device_id"])
