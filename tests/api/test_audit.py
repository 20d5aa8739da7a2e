"""The trail over HTTP."""

from tests.backend import Backend


def test_the_trail_tells_who_did_what_and_that_it_was_read(backend: Backend) -> None:
    account = backend.open_account()
    backend.send("PATCH", f"/v1/accounts/{account}", {"account_name": "canary"}, etag='"1"')
    backend.get(f"/v1/audit/events?account_id={account}")
    answer = backend.get(f"/v1/audit/events?account_id={account}")
    found = [(event["action"], event["fields"]) for event in answer.get_json()["items"]]
    assert found == [("account.create", []), ("account.change", ["account_name"]), ("audit.read", [])]
    assert {event["actor_id"] for event in answer.get_json()["items"]} == {backend.client_id}
    assert "canary" not in answer.text


def test_the_trail_of_another_services_account_is_not_there(backend: Backend, other_backend: Backend) -> None:
    account = backend.open_account()
    assert other_backend.get(f"/v1/audit/events?account_id={account}").status_code == 404
    assert backend.get("/v1/audit/events").status_code == 422


def test_every_answer_names_its_request_and_the_trail_does_too(backend: Backend) -> None:
    opened = backend.post("/v1/accounts", {"account_name": "a"})
    event = backend.get(f"/v1/audit/events?account_id={opened.get_json()['id']}").get_json()["items"][0]
    assert event["request_id"] == opened.headers["X-Request-Id"]
