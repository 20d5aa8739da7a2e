"""Access tokens: Ed25519 JWTs of ten minutes (RFC 9068), checked without a look at the database.

A token that was checked is remembered until it ends, since one backend sends the same token thousands of times.
"""

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jwt import ClaimsOption

from cloudpriv.controller.clients import Client
from cloudpriv.platform.actor import SERVICES, Actor
from cloudpriv.platform.errors import UnauthenticatedError

ALGORITHM: Final = "Ed25519"  # RFC 9864 deprecates the name EdDSA, which leaves the curve open
LIFETIME: Final = timedelta(minutes=10)
SKEW: Final = timedelta(seconds=30)  # that the clock of another server, which issued the token, may be ahead of ours
REMEMBERED: Final = 1000
LONGEST: Final = 4096  # characters of a token; ours have some 500


class Tokens:
    """Issues and checks access tokens with one Ed25519 key."""

    def __init__(self, key_file: Path, issuer: str) -> None:
        key = OKPKey.import_key(key_file.read_bytes())
        self._key = OKPKey.import_key({**key.as_dict(private=True), "kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM})
        self._issuer = issuer
        self._checked: OrderedDict[bytes, tuple[float, Actor]] = OrderedDict()
        self._lock = Lock()

    def issue(self, client: Client, scope: str, now: datetime) -> str:
        """A token for `client` with these scopes, valid for LIFETIME from `now`."""
        subject = str(client.client_id)
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": subject,
            "client_id": subject,
            "service": client.service,
            "scope": scope,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "jti": str(uuid4()),
        }
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])

    def actor(self, token: str, now: datetime) -> Actor:
        """On whose behalf a token's bearer acts. Raises UnauthenticatedError for one that is not ours, altered or over."""
        if len(token) > LONGEST:
            raise UnauthenticatedError
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        with self._lock:
            known = self._checked.get(digest)
        if known is not None and known[0] > now.timestamp():
            return known[1]
        ends, actor = self._check(token, now)
        self._remember(digest, ends, actor)
        return actor

    def key_set(self) -> dict[str, Any]:
        """The public key as a JWK set (RFC 7517)."""
        return {"keys": [self._key.as_dict(private=False)]}

    def _check(self, token: str, now: datetime) -> tuple[float, Actor]:
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
            self._registry(now).validate(decoded.claims)
        except (JoseError, ValueError):
            raise UnauthenticatedError from None
        claims = decoded.claims
        if decoded.header.get("typ") != "at+jwt" or claims["service"] not in SERVICES or claims["exp"] <= now.timestamp():
            raise UnauthenticatedError
        actor = Actor("client", claims["sub"], claims["service"], frozenset(claims["scope"].split()))
        return claims["exp"], actor

    def _registry(self, now: datetime) -> jwt.JWTClaimsRegistry:
        ours: ClaimsOption = {"essential": True, "value": self._issuer}
        # The leeway is for `iat` alone: that no token outlives its `exp` is checked beside this.
        return jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=int(SKEW.total_seconds()),
            iss=ours,
            aud=ours,
            exp={"essential": True},
            sub={"essential": True},
        )

    def _remember(self, digest: bytes, ends: float, actor: Actor) -> None:
        with self._lock:
            self._checked[digest] = (ends, actor)
            while len(self._checked) > REMEMBERED:
                self._checked.popitem(last=False)


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header (RFC 6750, 2.1). Raises UnauthenticatedError for any other."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise UnauthenticatedError
    return token
