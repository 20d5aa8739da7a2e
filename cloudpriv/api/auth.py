"""Tokens that the controller plane signs: Ed25519 JWTs of ten minutes, checked here without a look at the database.

Backends have access tokens (RFC 9068), account holders sessions, with which they use their rights and oversee their log
data: what a session allows depends on the plane that it is shown to. A session's token names the session's row, at which the
controller plane looks with each request; the processor plane, which cannot, takes the token until it is over. A token that
was checked is remembered until it ends, since one backend sends the same token thousands of times.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final
from uuid import UUID, uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jwt import ClaimsOption

from cloudpriv.platform.actor import HOLDER, LOG_DATA_SCOPES, SERVICES, Actor, Kind
from cloudpriv.platform.errors import UnauthenticatedError

ALGORITHM: Final = "Ed25519"  # RFC 9864 deprecates the name EdDSA, which leaves the curve open
LIFETIME: Final = timedelta(minutes=10)
SKEW: Final = timedelta(seconds=30)  # that the clock of another server, which issued the token, may be ahead of ours
REMEMBERED: Final = 1000
LONGEST: Final = 4096  # characters of a token; ours have some 500
ACCESS: Final = "at+jwt"
SESSION: Final = "session+jwt"
OWN_RIGHTS: Final[Mapping[Kind, frozenset[str]]] = dict.fromkeys(("owner", "member"), frozenset({HOLDER}))


class Tokens:
    """Issues tokens with one Ed25519 key, and checks them for the controller plane."""

    def __init__(self, key_file: Path, issuer: str) -> None:
        self._key = _load(key_file)
        self._issuer = issuer
        self._checker = Checker(self._key, issuer, holders=OWN_RIGHTS)

    def issue(self, client_id: UUID, service: str, scope: str, now: datetime) -> str:
        """An access token for a client with these scopes, valid for LIFETIME from `now`."""
        claims = {"sub": str(client_id), "client_id": str(client_id), "service": service, "scope": scope}
        return self._sign(ACCESS, claims, now)

    def issue_session(
        self, service: str, account_id: UUID, person_id: UUID, role: str, now: datetime, *, session_id: UUID
    ) -> str:
        """The token of a session of a person of an account, valid for LIFETIME from `now`."""
        claims = {"sub": str(person_id), "account_id": str(account_id), "role": role, "service": service}
        return self._sign(SESSION, {**claims, "sid": str(session_id)}, now)

    def actor(self, token: str, now: datetime) -> Actor:
        """On whose behalf a token's bearer acts. Raises UnauthenticatedError for one that is not ours, altered or over.

        Of a session it says who it was begun for: whether it and that person are still there, the database knows.
        """
        return self._checker.actor(token, now)

    def key_set(self) -> dict[str, Any]:
        """The public key as a JWK set (RFC 7517)."""
        return {"keys": [self._key.as_dict(private=False)]}

    def _sign(self, kind: str, claims: dict[str, str], now: datetime) -> str:
        common = {
            "iss": self._issuer,
            "aud": self._issuer,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "jti": str(uuid4()),
        }
        return jwt.encode({"alg": ALGORITHM, "typ": kind, "kid": self._key.kid}, common | claims, self._key,
                          algorithms=[ALGORITHM])  # fmt: skip


class Checker:
    """Checks tokens with the public half of the key that signs them; `holders` are the scopes of sessions, by role."""

    def __init__(self, key: OKPKey, issuer: str, *, holders: Mapping[Kind, frozenset[str]]) -> None:
        self._key = key
        self._issuer = issuer
        self._holders = holders
        self._checked: OrderedDict[bytes, tuple[float, Actor]] = OrderedDict()
        self._lock = Lock()

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

    def _check(self, token: str, now: datetime) -> tuple[float, Actor]:
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
            self._registry(now).validate(decoded.claims)
        except (JoseError, ValueError):
            raise UnauthenticatedError from None
        claims, kind = decoded.claims, decoded.header.get("typ")
        if kind not in (ACCESS, SESSION) or claims["service"] not in SERVICES or claims["exp"] <= now.timestamp():
            raise UnauthenticatedError
        return claims["exp"], _backend(claims) if kind == ACCESS else self._holder(claims)

    def _holder(self, claims: dict[str, Any]) -> Actor:
        if "sid" not in claims:
            raise UnauthenticatedError
        kind: Final = "owner" if claims["role"] == "owner" else "member"
        account_id, session_id = UUID(claims["account_id"]), UUID(claims["sid"])
        return Actor(kind, claims["sub"], claims["service"], self._holders[kind], account_id, session_id=session_id)

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


def public_checker(key_file: Path, issuer: str) -> Checker:
    """Checks access tokens and sessions for the processor plane, by the public key of whoever signs them.

    Raises ValueError for a file with another key in it, and for one with the private key: who has it could sign.
    """
    key = _load(key_file)
    if key.is_private:
        raise ValueError("the private key is in it, which belongs to the controller plane alone")
    return Checker(key, issuer, holders=LOG_DATA_SCOPES)


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header (RFC 6750, 2.1). Raises UnauthenticatedError for any other."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise UnauthenticatedError
    return token


def _load(key_file: Path) -> OKPKey:
    key = OKPKey.import_key(key_file.read_bytes())
    named = {"kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}
    return OKPKey.import_key({**key.as_dict(private=key.is_private), **named})


def _backend(claims: dict[str, Any]) -> Actor:
    scopes = frozenset(claims["scope"].split()) - {HOLDER}  # whatever was signed: nobody else has a person's own rights
    return Actor("client", claims["sub"], claims["service"], scopes)
