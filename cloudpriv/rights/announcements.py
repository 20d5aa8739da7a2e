"""Announcements of a major change of the policy, to every owner by mail and in the portal."""

from collections.abc import Mapping

from cloudpriv.controller.outbox import Writer
from cloudpriv.rights.post import Post


def writers(_: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `outbox.deliver`."""
    return {}
