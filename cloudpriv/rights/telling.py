"""Telling recipients of data about its rectification, erasure or restriction (GDPR Article 19)."""

from collections.abc import Mapping

from cloudpriv.controller.outbox import Writer
from cloudpriv.rights.post import Post


def writers(_: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `outbox.deliver`."""
    return {}
