"""Tokens that others made, or that were made for something else: none is taken, whatever its header says of itself."""

import base64
import json
from hashlib import sha256, sha512
from hmac import new as mac
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OKPKey

from cloudpriv.bootstrap import Services
from tests.backend import Backend

OURS = ["Ed25519"]


def part(content: bytes) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def key_of(services: Services) -> OKPKey:
    """The key that signs tokens."""
    return OKPKey.import_key(Path(services.settings.signing_key_file or "").read_bytes())


def refused(backend: Backend, token: str) -> bool:
    """Whether a token opens nothing, after its backend's own did."""
    assert backend.get("/v1/accounts").status_code == 200
    backend.token = token
    return backend.get("/v1/accounts").status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "HS512", "EdDSA"])
def test_no_token_is_taken_by_another_algorithm(services: Services, backend: Backend, algorithm: str) -> None:
    head, claims, signature = backend.token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    signed = part(json.dumps({**header, "alg": algorithm}).encode()) + "." + claims
    if algorithm.startswith("HS"):  # with the public key for a secret, which everybody has
        public = key_of(services).as_pem(private=False)
        signature = part(mac(public, signed.encode(), sha256 if algorithm == "HS256" else sha512).digest())
    assert refused(backend, f"{signed}.{'' if 'one' in algorithm else signature}")


def test_no_token_is_taken_that_was_altered(backend: Backend) -> None:
    head, claims, signature = backend.token.split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "=="))
    more = part(json.dumps({**told, "scope": "accounts:read accounts:write holds:write"}).encode())
    assert refused(backend, f"{head}.{more}.{signature}")


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "kid"])
def test_no_token_brings_the_key_that_it_is_checked_with(
    app: Flask, services: Services, backend: Backend, member: str
) -> None:
    own = OKPKey.generate_key("Ed25519")
    values: dict[str, Any] = {
        "jwk": own.as_dict(private=False),
        "jku": "https://other.example/keys",
        "x5u": "https://other.example/key",
        "kid": own.thumbprint(),
    }
    claims = jwt.decode(backend.token, key_of(services), algorithms=OURS).claims
    header = {"alg": "Ed25519", "typ": "at+jwt", member: values[member]}
    assert refused(backend, jwt.encode(header, claims, own, algorithms=OURS))


@pytest.mark.parametrize("kind", ["JWT", "id+jwt", "", None])
def test_no_token_of_another_type_is_taken(services: Services, backend: Backend, kind: str | None) -> None:
    key = key_of(services)
    claims = jwt.decode(backend.token, key, algorithms=OURS).claims
    header = {"alg": "Ed25519"} if kind is None else {"alg": "Ed25519", "typ": kind}
    assert refused(backend, jwt.encode(header, claims, key, algorithms=OURS))
