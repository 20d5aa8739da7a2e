"""How every kind of mail is written that this layer and those below know."""

from collections.abc import Mapping
from typing import Final

from cloudpriv.controller.delivery import Writer
from cloudpriv.retention import notices
from cloudpriv.rights import addresses, announcements, closure, code_mails, letters, owners, restriction_ends, telling
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.post import Post

WRITTEN_BY: Final = (addresses, announcements, closure, code_mails, consents, letters, owners, restriction_ends, telling)


def writers(post: Post) -> Mapping[str, Writer]:
    """By kind, for `delivery.deliver`."""
    found = dict(notices.writers(post.policy))
    for module in WRITTEN_BY:
        found |= module.writers(post)
    return found
