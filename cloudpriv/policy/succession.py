"""Which version of the policy is in force at a moment, and which one comes after it.

A version takes effect at the beginning (UTC) of the day in its `valid_from`, and not before: until then it is announced,
and nothing else reads it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cloudpriv.policy.reading import PolicyError
from cloudpriv.policy.register import IN_FORCE, Policy, load


class UntimelyPolicyError(PolicyError):
    """A policy file that is valid in itself, but not at this time or beside the other one; the text says what to do."""

    def __init__(self, told: str) -> None:
        self.problems = ()
        ValueError.__init__(self, told)


@dataclass(frozen=True)
class Policies:
    """The version that a process began with, and the one that takes its place when its day comes, if one is known."""

    first: Policy
    following: Policy | None = None

    def at(self, now: datetime) -> Policy:
        """The version that is in force at this moment."""
        return self.first if self.following is None or self.after(now) else self.following

    def after(self, now: datetime) -> Policy | None:
        """The version that is known and not in force yet, if any."""
        return self.following if self.following is not None and _is_early(self.following, now) else None

    def known(self, now: datetime) -> tuple[Policy, ...]:
        """The version in force, and the one after it where there is one: what may be announced."""
        after = self.after(now)
        return (self.at(now),) if after is None else (self.at(now), after)


def load_policies(file: str | None, next_file: str | None, now: datetime, *, prefix: str) -> Policies:
    """Read the file of the version in force (None: the one that is installed) and that of the next version, if any.

    `prefix` begins the names of the settings that errors tell of. Raises PolicyError for a file with faults; for a version
    that is to be in force and has not come; for a next one that is no later, or has the same name. Raises OSError when a
    file cannot be read.
    """
    path = Path(file) if file else IN_FORCE
    first = load(path)
    if _is_early(first, now):
        raise UntimelyPolicyError(
            f"{path.name} is in force from {first.valid_from} only: until then name it in {prefix}NEXT_POLICY_FILE, and in "
            f"{prefix}POLICY_FILE the version before it, which is in force now"
        )
    following = load(Path(next_file)) if next_file else None
    if following is None or following == first:  # named twice once its day had come, which changes nothing
        return Policies(first)
    _require_later(Path(next_file or "").name, following, first, prefix)
    return Policies(first, following)


def _require_later(name: str, following: Policy, first: Policy, prefix: str) -> None:
    if following.version == first.version:
        raise UntimelyPolicyError(
            f"{name}, named in {prefix}NEXT_POLICY_FILE, has the version of the policy in force, {first.version}, and says "
            "something else: give it a version of its own"
        )
    if following.valid_from <= first.valid_from:
        raise UntimelyPolicyError(
            f"{name}, named in {prefix}NEXT_POLICY_FILE, is valid from {following.valid_from}, and the policy in force from "
            f"{first.valid_from}: the next version has to begin later"
        )


def _is_early(policy: Policy, now: datetime) -> bool:
    return now.astimezone(UTC).date() < policy.valid_from
