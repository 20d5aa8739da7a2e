"""The closing of an account on its owner's word: a cooling-off of 14 days, in which it may be undone, then the purge."""

from collections.abc import Mapping

from cloudpriv.controller.outbox import Writer
from cloudpriv.rights.post import Post


def writers(_: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `outbox.deliver`."""
    return {}
