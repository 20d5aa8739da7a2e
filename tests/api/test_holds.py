"""Legal holds over HTTP."""

from tests.backend import Backend

HOLD = {"scope": "account", "authority": "Example District Court", "reference": "T 1234-26"}


def test_smoke(backend: Backend) -> None:
    a = backend.open_account()
    r = backend.post(f"/v1/accounts/{a}/holds", HOLD)
    print(r.status_code, r.text, r.headers)
    r = backend.get(r.headers["Location"])
    print(r.text, r.headers)
    print(backend.get(f"/v1/accounts/{a}/holds").text)
    p = backend.post(f"/v1/accounts/{a}/people", {"username": "kim"})
    d = backend.send("DELETE", p.headers["Location"], etag='"1"')
    print(d.status_code, d.text, d.headers)
    assert False
