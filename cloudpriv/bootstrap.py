"""Settings to everything a process works with: one frozen `Services` or `ProcessorServices`, made once at start."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis import Redis

from cloudpriv.config import PREFIX, PROCESSOR_PREFIX, PlaneSettings, ProcessorSettings, Settings
from cloudpriv.config.checks import WITHOUT
from cloudpriv.platform import clock, db, jobs, keys, objectstore
from cloudpriv.platform.certificate import Certificate, load_certificate
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.mail import Mailer
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.policy.succession import Policies, load_policies
from cloudpriv.retention.guards import Limits, Terms, read_clocks
from cloudpriv.retention.progress import Stores
from cloudpriv.rights import farewell
from cloudpriv.rights.post import Post

PURGES_AT_ONCE: Final = 4  # of one worker, each of which may ask for the erasure of its log data


@dataclass(frozen=True)
class Services:
    """The controller plane, the stores and the versions of the policy."""

    settings: Settings
    controller: Plane
    exports: ObjectStore
    ledger: ObjectStore
    proof_key: Ed25519PrivateKey | None
    mailer: Mailer
    redis: Redis
    policies: Policies
    clock: Callable[[], datetime]
    eraser: Plane | None = None

    @property
    def plane(self) -> Plane:
        """The plane that these services are of."""
        return self.controller

    @property
    def policy(self) -> Policy:
        """The policy in force at this moment. A unit of work looks it up once, and goes on by it past midnight."""
        return self.policies.at(self.clock())

    def terms(self, tx: Tx) -> Terms:
        """What a run of purges is judged by at this moment."""
        limits = Limits(self.settings.purge_limit_accounts, self.settings.purge_limit_share)
        return Terms(self.policy, limits, read_clocks(tx))

    @property
    def stores(self) -> Stores:
        """What erasures reach beside the database. Raises KeyFault without the key that certifies them."""
        return Stores(self.exports, self.redis, self.ledger, self.require_proof_key(), self.eraser, farewell.before_erasure)

    @property
    def post(self) -> Post:
        """What mails about rights need to know."""
        now = self.clock()
        urls = (self.settings.issuer, self.settings.privacy_address)
        return Post(self.policies.at(now), *urls, following=self.policies.after(now))

    def require_proof_key(self) -> Ed25519PrivateKey:
        """The key that certifies erasures. Raises KeyFault when the settings name none."""
        if self.proof_key is None:
            raise keys.KeyFault("no key certifies erasures: set CLOUDPRIV_PROOF_KEY_FILE")
        return self.proof_key


def build(settings: Settings, *, now: Callable[[], datetime] = clock.utc_now) -> Services:
    """Connect lazily to what `settings` names. Raises KeyFault or PolicyError when keys or policy cannot be read or used."""
    keyring = _keyring(settings, "controller")
    redis = jobs.connect(settings.redis_url)
    engine = db.connect(settings.database_url, pool_size=settings.web_threads + 1)
    exports = _bucket(settings, settings.s3_export_bucket)
    return Services(
        settings=settings,
        controller=Plane(engine, keyring, jobs.Waker(redis)),
        exports=exports,
        ledger=exports.of_bucket(settings.s3_ledger_bucket),
        proof_key=keys.load_signing_key(Path(settings.proof_key_file)) if settings.proof_key_file else None,
        mailer=Mailer(settings.smtp_url, settings.mail_from or ""),
        redis=redis,
        policies=load_policies(settings.policy_file, settings.next_policy_file, now(), prefix=PREFIX),
        clock=now,
        eraser=_eraser(settings),
    )


def _keyring(settings: PlaneSettings, plane: str) -> keys.Keyring:
    return keys.load_keyring(
        Path(settings.keyring_file),
        plane,
        kms_key_id=settings.kms_key_id,
        kms_endpoint=settings.kms_endpoint,
        region=settings.s3_region,
    )


def _bucket(settings: PlaneSettings, name: str) -> ObjectStore:
    return objectstore.connect(
        name,
        region=settings.s3_region,
        endpoint=settings.s3_endpoint,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
    )


def _eraser(settings: Settings) -> Plane | None:
    url = settings.eraser_database_url
    return None if url is None or url == WITHOUT else _across(url, PURGES_AT_ONCE, db.PROCESSOR_SCHEMA)


def _across(url: str, pool_size: int, schema: str) -> Plane:
    """The other plane's database, by a role that may do next to nothing there, without its keys and its queue."""
    return Plane(db.connect(url, pool_size=pool_size, schema=schema), keys.NO_KEYS, lambda _job, _subject: None)


@dataclass(frozen=True)
class ProcessorServices:
    """The processor plane, its bucket and the policy's versions; `teller` reaches the controller plane's mailbox, no more.

    Without `certificate` there is no OpenDSR: nothing could be signed.
    """

    settings: ProcessorSettings
    plane: Plane
    objects: ObjectStore
    redis: Redis
    policies: Policies
    clock: Callable[[], datetime]
    teller: Plane | None = None
    certificate: Certificate | None = None

    @property
    def policy(self) -> Policy:
        """The policy in force at this moment. A unit of work looks it up once, and goes on by it past midnight."""
        return self.policies.at(self.clock())


def build_processor(settings: ProcessorSettings, *, now: Callable[[], datetime] = clock.utc_now) -> ProcessorServices:
    """Connect lazily to what `settings` names. Raises KeyFault or PolicyError when keys or policy cannot be read or used."""
    keyring = _keyring(settings, "processor")
    redis = jobs.connect(settings.redis_url)
    engine = db.connect(settings.database_url, pool_size=settings.web_threads + 1, schema=db.PROCESSOR_SCHEMA)
    objects = _bucket(settings, settings.s3_bucket)
    return ProcessorServices(
        settings=settings,
        plane=Plane(engine, keyring, jobs.Waker(redis, jobs.PROCESSOR_QUEUE)),
        objects=objects,
        redis=redis,
        policies=load_policies(settings.policy_file, settings.next_policy_file, now(), prefix=PROCESSOR_PREFIX),
        clock=now,
        teller=_across(settings.teller_database_url, 1, db.CONTROLLER_SCHEMA) if settings.teller_database_url else None,
        certificate=_certificate(settings),
    )


def _certificate(settings: ProcessorSettings) -> Certificate | None:
    if settings.certificate_file is None:
        return None
    return load_certificate(Path(settings.certificate_file), urlsplit(settings.url).hostname or "")
