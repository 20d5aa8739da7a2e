"""One-time codes to the registered address: 15 minutes, five tries, one use."""

from collections.abc import Mapping

from cloudpriv.controller.outbox import Writer
from cloudpriv.rights.post import Post


def writers(_: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `outbox.deliver`."""
    return {}
