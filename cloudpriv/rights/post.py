"""What mails about rights need to know beside their rows."""

from dataclasses import dataclass

from cloudpriv.policy.register import Policy


@dataclass(frozen=True)
class Post:
    """The policy in force, the public base URL of API and portal, and where privacy staff reads mail (None: nowhere)."""

    policy: Policy
    url: str
    privacy_address: str | None
