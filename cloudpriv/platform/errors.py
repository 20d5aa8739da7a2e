"""Every way in which the domain says no: one class each, one stable code each.

The API turns a class into an RFC 9457 problem by one table (`cloudpriv.api.problems`); the command line prints `detail`.
Details never repeat what the caller sent: it may be personal data.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FieldError:
    """One invalid member of a request and what is wrong with it: RFC 6901 pointer into the body, or a parameter's name."""

    pointer: str
    detail: str
    location: Literal["body", "query"] = "body"


class DomainError(Exception):
    """A refusal by a rule of the domain; `detail` is safe to show to the caller and to log."""

    code = "internal"
    detail = "The request could not be carried out."

    def __init__(self, detail: str | None = None, *, errors: tuple[FieldError, ...] = ()) -> None:
        self.detail = detail or type(self).detail
        self.errors = errors
        super().__init__(self.detail)


class NotFoundError(DomainError):
    """Nothing with this id is visible to the caller; also what belongs to another service (no oracle)."""

    code = "not_found"
    detail = "There is nothing here that you can see."


class ConflictError(DomainError):
    """A unique name or number is taken already."""

    code = "conflict"
    detail = "That conflicts with what is there already."


class InvalidError(DomainError):
    """The request is well formed, but a value breaks a rule; `errors` points at each."""

    code = "invalid"
    detail = "Some values are not acceptable."


class StaleError(DomainError):
    """If-Match names another version than the current one (RFC 9110, 13.1.1)."""

    code = "stale"
    detail = "It has changed since you read it; read it again and repeat the change."


class PreconditionMissingError(DomainError):
    """A change came without If-Match, or with one that names no version (RFC 6585, 3)."""

    code = "precondition_required"
    detail = "Send If-Match with the ETag that you last read, in its quotes."


class UnauthenticatedError(DomainError):
    """No valid access token (RFC 6750, 3.1)."""

    code = "unauthenticated"
    detail = "A valid access token is needed."


class ForbiddenError(DomainError):
    """The access token lacks the scope of this route (RFC 6750, 3.1)."""

    code = "insufficient_scope"
    detail = "The access token does not carry the scope that this needs."


class InvalidCredentialsError(DomainError):
    """Account name, username or password is wrong; deliberately not said which."""

    code = "invalid_credentials"
    detail = "Account name, username or password is wrong."


class WrongCodeError(DomainError):
    """The one-time code does not fit, or is no longer good; deliberately not said which."""

    code = "wrong_code"
    detail = "This code does not fit, or is no longer good."


class AccountClosingError(DomainError):
    """The account is being erased and takes no changes any more."""

    code = "account_closing"
    detail = "The account is being erased."


class AccountRestrictedError(DomainError):
    """Processing of the account is restricted (GDPR Article 18)."""

    code = "account_restricted"
    detail = "Processing of this account is restricted; only storage, export and legal claims are possible."


class PersonRestrictedError(DomainError):
    """Processing of one person's data is restricted (GDPR Article 18)."""

    code = "person_restricted"
    detail = "Processing of this person's data is restricted; only storage, export and legal claims are possible."


class TransferRefusedError(DomainError):
    """The data may not go to this country: neither a decision nor a safeguard of GDPR chapter V covers it."""

    code = "transfer_refused"
    detail = "No adequacy decision covers the country, and no standard contractual clauses are named."


class IdempotencyMismatchError(DomainError):
    """The Idempotency-Key was used with another request (IETF draft-ietf-httpapi-idempotency-key-header)."""

    code = "idempotency_mismatch"
    detail = "This Idempotency-Key was used for another request."


class IdempotencyRunningError(DomainError):
    """The first request with this Idempotency-Key has not ended."""

    code = "idempotency_running"
    detail = "The first request with this Idempotency-Key is still running."


class RateLimitedError(DomainError):
    """The caller sent more than its share; `after` is how many seconds to wait, where the rule that refuses knows."""

    code = "rate_limited"
    detail = "Too many requests; wait as Retry-After says."

    def __init__(self, detail: str | None = None, *, after: int | None = None) -> None:
        super().__init__(detail)
        self.after = after


class BusyError(DomainError):
    """Something needed is overloaded or away for a moment; the same request may succeed later."""

    code = "busy"
    detail = "Too busy right now; try again shortly."


class RestoredError(DomainError):
    """The database knows less than the ledger's bucket, or nobody can tell: what was erased may be in it again."""

    code = "restored"
    detail = "The database came back from a backup: run `cloudpriv purge replay`."


class UnreadableError(DomainError):
    """The body cannot be read as what its content type says."""

    code = "unreadable"
    detail = "The body cannot be read."


class UnsupportedTypeError(DomainError):
    """The body's content type is not one that this route takes (RFC 9110, 15.5.16)."""

    code = "unsupported_media_type"
    detail = "Send the body as application/json."


class NotDueError(DomainError):
    """The policy does not allow the account to be erased yet."""

    code = "not_due"
    detail = "The account is not due to be erased."


class SecondPersonNeededError(DomainError):
    """Whoever planned an erasure may not approve it too."""

    code = "second_person_needed"
    detail = "A plan is approved by somebody other than who made it."


class TooLargeError(DomainError):
    """The body is over the limit of this route."""

    code = "too_large"
    detail = "The body is too large."


class NotReadyError(DomainError):
    """The long work behind this resource has not ended."""

    code = "not_ready"
    detail = "It is not ready yet."


class GoneError(DomainError):
    """It was here and has been erased by its retention rule."""

    code = "gone"
    detail = "It has been erased."


def domain_errors() -> frozenset[type[DomainError]]:
    """Every error class of the domain, for the closed-set checks."""
    return frozenset(DomainError.__subclasses__())
