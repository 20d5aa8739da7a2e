"""What a browser may do with the API's answers: show none as a page, and let no other site read them."""

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from tests.backend import Backend

OTHER = {"Origin": "https://other.example"}


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/nothing", "/v1/policy", "/docs", "/.well-known/jwks.json"])
def test_no_answer_of_the_api_becomes_a_page_of_another_kind_or_in_a_frame(backend: Backend, path: str) -> None:
    headers = backend.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


def test_browsers_are_held_to_tls_where_the_apis_address_has_it(services: Services) -> None:
    behind_tls = replace(services, settings=replace(services.settings, issuer="https://privacy.example.com"))
    answer = create_app(behind_tls).test_client().get("/v1/nothing")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/session", "/oauth2/token", "/portal/sign-in", "/openapi.json"])
def test_no_other_site_reads_an_answer(app: Flask, path: str) -> None:
    asked: dict[str, Any] = {
        **OTHER,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answers = [app.test_client().get(path, headers=OTHER), app.test_client().options(path, headers=asked)]
    assert [name for answer in answers for name, _value in answer.headers if name.lower().startswith("access-control")] == []
