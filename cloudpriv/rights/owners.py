"""Owners: their replacement by staff after a documented check of the company, with notice and a waiting time."""

from collections.abc import Mapping

from cloudpriv.controller.outbox import Writer
from cloudpriv.rights.post import Post


def writers(_: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `outbox.deliver`."""
    return {}
