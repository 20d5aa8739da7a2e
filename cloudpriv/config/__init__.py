"""Settings from the environment, read once at start and frozen.

Every setting is one field of `Settings`: `CLOUDPRIV_` and its name in capitals, with its meaning beside it. Whoever starts a
process reads them with `load`; nothing else looks at the environment.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, TypeVar

from environs import Env, EnvValidationError, validate

from cloudpriv.config import checks

PREFIX = "CLOUDPRIV_"
PROCESSOR_PREFIX = "CLOUDPRIV_PROCESSOR_"
Role = Literal["api", "worker", "migration"]
DATABASE_SETTING: dict[Role, str] = {
    "api": "DATABASE_URL",
    "worker": "WORKER_DATABASE_URL",
    "migration": "MIGRATION_DATABASE_URL",
}
# Fields that are secrets, or name them, beside those of the database; a public key is none.
SECRETS = frozenset(
    {
        "redis_url",  # with its password
        "s3_access_key_id",
        "s3_secret_access_key",
        "keyring_file",
        "signing_key_file",
        "proof_key_file",
        "certificate_file",
        "smtp_url",
        "eraser_database_url",
        "teller_database_url",
    }
)


class SettingsError(Exception):
    """Settings are missing or malformed; the text is one line that names each of them."""


def _setting(doc: str, kind: str = "str", default: Any = MISSING, check: Any = None, only: Role | None = None) -> Any:
    """`only` names the role that reads the setting: to every other process it is None."""
    metadata = {"doc": doc, "kind": kind, "default": default, "check": check, "only": only}
    return field(metadata=metadata)


AT_LEAST_ONE = validate.Range(min=1)


@dataclass(frozen=True, repr=False)
class PlaneSettings:
    """What a process of either plane runs with, each from variables and servers of its own. Secrets stay out of its repr."""

    database_url: str = _setting(
        "PostgreSQL of this plane, as the role of this process: `…_DATABASE_URL` for the API, `…_WORKER_DATABASE_URL` for "
        "workers, `…_MIGRATION_DATABASE_URL` for `db upgrade`",
        check=checks.url("postgresql+psycopg"),
    )
    redis_url: str = _setting(
        "Redis or Valkey of this plane: job queue and rate limits", check=checks.url("redis", "rediss", "unix")
    )
    s3_endpoint: str | None = _setting("S3 endpoint; unset for AWS", default=None, check=checks.url("http", "https"))
    s3_region: str = _setting("S3 region", default="eu-north-1")
    s3_access_key_id: str | None = _setting("S3 access key; unset for the instance's own role", default=None)
    s3_secret_access_key: str | None = _setting("S3 secret key; unset for the instance's own role", default=None)
    keyring_file: str = _setting("Key-encryption keys of this plane (JSON, see docs/keys.md)", check=checks.file)
    kms_key_id: str | None = _setting(
        "AWS KMS key that wraps the keyring's entries; unset when they are plain", default=None
    )
    kms_endpoint: str | None = _setting("AWS KMS endpoint; unset for AWS", default=None, check=checks.url("http", "https"))
    policy_file: str | None = _setting(
        "Privacy policy in force, as TOML; unset for the one of 30 March 2023", default=None, check=checks.file
    )
    next_policy_file: str | None = _setting(
        "Privacy policy that comes after it: announced until the day of its `valid_from`, and in force from then on, also "
        "without a restart (see docs/production.md)",
        default=None,
        check=checks.file,
    )
    web_processes: int = _setting("API processes", kind="int", default=1, check=AT_LEAST_ONE)
    web_threads: int = _setting("Threads in each API process", kind="int", default=8, check=AT_LEAST_ONE)
    trusted_proxies: int = _setting(
        "Proxies in a row before the API, each of which adds to `X-Forwarded-For` whom it serves: by that address callers "
        "without a token are limited, and stand in the access log. With 0 the header counts for nothing",
        kind="int",
        default=0,
        check=validate.Range(min=0, max=10),
    )
    access_log_dir: str | None = _setting(
        "Folder of the API's access log, which holds addresses and is erased as the policy says; it needs a schedule on the "
        "same host. Unset, no address is written anywhere",
        default=None,
        check=checks.folder,
    )
    log_level: str = _setting("Lowest level that is logged", default="INFO",
                              check=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))  # fmt: skip


@dataclass(frozen=True, repr=False)
class Settings(PlaneSettings):
    """What one process runs with; secrets stay out of its repr."""

    s3_export_bucket: str = _setting("Bucket of export archives")
    s3_ledger_bucket: str = _setting(
        "Bucket of the erasure ledger and of signed checkpoints; outside whatever backs up and restores the database"
    )
    signing_key_file: str | None = _setting(
        "Ed25519 private key (PEM, PKCS 8) that signs access tokens; needed by the API", default=None, check=checks.file
    )
    proof_key_file: str | None = _setting(
        "Ed25519 private key (PEM, PKCS 8) that signs certificates, checkpoints and archives; needed by workers and the "
        "schedule",
        default=None,
        check=checks.file,
    )
    issuer: str = _setting("Public base URL of the API; `iss` of access tokens", default="http://127.0.0.1:8080",
                           check=checks.url("http", "https"))  # fmt: skip
    bind: str = _setting("Address and port that `serve` listens on", default="127.0.0.1:8080", check=checks.listen)
    rate_limit: str = _setting("Requests of one client", default="6000/minute", check=checks.rate)
    verify_rate_limit: str = _setting(
        "Password checks and hints of one account from one client", default="60/minute", check=checks.rate
    )
    argon2_time_cost: int = _setting(
        "Argon2id passes (RFC 9106 low-memory profile)", kind="int", default=3, check=AT_LEAST_ONE
    )
    argon2_memory_kib: int = _setting("Argon2id memory in KiB", kind="int", default=65536, check=validate.Range(min=8))
    argon2_parallelism: int = _setting("Argon2id lanes", kind="int", default=4, check=AT_LEAST_ONE)
    hash_concurrency: int = _setting(
        "Password hashes computed at once in a process", kind="int", default=2, check=AT_LEAST_ONE
    )
    breached_passwords_file: str | None = _setting(
        "List of breached passwords, in which no new password may be: SHA-1 hashes in order, one `HASH:COUNT` a line, as "
        "Have I Been Pwned has them to download (see docs/production.md). Read by the API; unset, this is not checked",
        default=None,
        check=checks.hash_list,
        only="api",
    )
    purge_automatically: bool = _setting(
        "Whether the schedule has accounts erased once they are due; otherwise only `purge run --execute` and the API do",
        kind="bool",
        default=False,
    )
    purge_limit_accounts: int = _setting(
        "Due accounts of a service that one run may erase without a second person's approval",
        kind="int",
        default=100,
        check=AT_LEAST_ONE,
    )
    purge_limit_share: float = _setting(
        "The same as a share of the service's accounts; a single account is always within it",
        kind="float",
        default=0.05,
        check=validate.Range(min=0, max=1),
    )
    smtp_url: str | None = _setting(
        "Server that takes our mail: `smtp://[user:password@]host[:port]`, by STARTTLS when it offers that, or `smtps://…`; "
        "unset, no mail is sent",
        default=None,
        check=checks.smtp_server,
    )
    mail_from: str | None = _setting(
        "Address that our mail comes from; needed with `CLOUDPRIV_SMTP_URL`", default=None, check=checks.address
    )
    privacy_address: str | None = _setting(
        "Address of the privacy staff, who are mailed each day which requests are overdue or nearly due; unset, nobody is",
        default=None,
        check=checks.address,
    )
    eraser_database_url: str | None = _setting(
        "PostgreSQL of the processor plane as the role `cloudpriv_eraser`, by which an account's log data goes with the "
        "account; or `none` where there is no processor plane. Read by workers and the schedule, which need it",
        check=checks.eraser,
        only="worker",
    )


@dataclass(frozen=True, repr=False)
class ProcessorSettings(PlaneSettings):
    """What one process of the processor plane runs with: nothing of the controller plane's. Secrets stay out of its repr."""

    s3_bucket: str = _setting("Bucket of log data and of its archives")
    token_key_file: str | None = _setting(
        "Public Ed25519 key (PEM) of the controller plane's access tokens: by it owners are known who make tokens of this "
        "plane, and vendor's tokens are known and refused; needed by the API",
        default=None,
        check=checks.file,
    )
    token_issuer: str = _setting("`iss` of those access tokens: the controller API's public base URL",
                                 default="http://127.0.0.1:8080", check=checks.url("http", "https"))  # fmt: skip
    certificate_file: str | None = _setting(
        "RSA private key and X.509 certificate (PEM) that sign answers to OpenDSR requests; without it there is no OpenDSR",
        default=None,
        check=checks.file,
    )
    opendsr_callback_networks: str = _setting(
        "Networks that OpenDSR callbacks may reach beside public addresses, there also without TLS; such as `10.20.0.0/16`, "
        "with commas between several",
        default="",
        check=checks.networks,
    )
    url: str = _setting(
        "Public base URL of this plane's API", default="http://127.0.0.1:8081", check=checks.url("http", "https")
    )
    bind: str = _setting("Address and port that `serve` listens on", default="127.0.0.1:8081", check=checks.listen)
    rate_limit: str = _setting("Requests of one token", default="6000/minute", check=checks.rate)
    teller_database_url: str | None = _setting(
        "PostgreSQL of the controller plane as the role `cloudpriv_teller`, which may say when an account had traffic and "
        "nothing else. Read by workers and the schedule, which need it",
        check=checks.url("postgresql+psycopg"),
        only="worker",
    )


Read = TypeVar("Read", bound=PlaneSettings)


def load(role: Role) -> Settings:
    """Read the environment for a process of `role`. Raises SettingsError naming every fault in one line."""
    settings = _load(Settings, PREFIX, role)
    if settings.smtp_url is not None and settings.mail_from is None:
        raise SettingsError(f"{PREFIX}MAIL_FROM: is needed with {PREFIX}SMTP_URL")
    return settings


def load_processor(role: Role) -> ProcessorSettings:
    """Read the environment for a process of the processor plane. Raises SettingsError naming every fault in one line."""
    return _load(ProcessorSettings, PROCESSOR_PREFIX, role)


def _load(kind: type[Read], prefix: str, role: Role) -> Read:
    env = Env(eager=False, prefix=prefix)
    values = {item.name: _read(env, item, role) for item in fields(kind)}
    try:
        env.seal()
    except EnvValidationError as fault:
        raise SettingsError(_one_line(fault)) from None
    return kind(**values)


def secrets_of(kind: type[PlaneSettings] = Settings) -> frozenset[str]:
    """The environment variables of a plane that are secrets, or lead to one, whichever the role of the process."""
    prefix = PREFIX if kind is Settings else PROCESSOR_PREFIX
    named = {item.name.upper() for item in fields(kind) if item.name in SECRETS}
    return frozenset(prefix + name for name in (*named, *DATABASE_SETTING.values()))


def setting_name(item: Field[Any], role: Role = "api") -> str:
    """The environment variable of a field of `Settings`, without its prefix."""
    return DATABASE_SETTING[role] if item.name == "database_url" else item.name.upper()


def _read(env: Env, item: Field[Any], role: Role) -> Any:
    if item.metadata["only"] not in (None, role):
        return None
    default = item.metadata["default"]
    given = {} if default is MISSING else {"default": default}
    return getattr(env, item.metadata["kind"])(setting_name(item, role), validate=item.metadata["check"], **given)


def _one_line(fault: EnvValidationError) -> str:
    messages = fault.error_messages
    if not isinstance(messages, Mapping):
        return "; ".join(messages)
    return "; ".join(f"{name}: {' '.join(texts)}" for name, texts in messages.items())
