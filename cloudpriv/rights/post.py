"""What mails about rights need to know beside their rows."""

from dataclasses import dataclass

from cloudpriv.policy.register import Policy


@dataclass(frozen=True)
class Post:
    """The policy in force, the public base URL of API and portal, where privacy staff reads mail (None: nowhere).

    `following` is the version that comes after the one in force, if one is known.
    """

    policy: Policy
    url: str
    privacy_address: str | None
    following: Policy | None = None

    @property
    def portal(self) -> str:
        """Where people sign in."""
        return f"{self.url.rstrip('/')}/portal/"
