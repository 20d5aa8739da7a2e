"""What a one-time code looks like, and the mails that bring one or tell that one was used."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from cloudpriv.controller import delivery
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import Content, DroppedError, Values, Writer
from cloudpriv.controller.holder_tables import OneTimeCode
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.db import Tx
from cloudpriv.platform.keys import DataKey
from cloudpriv.rights import letters
from cloudpriv.rights.post import Post
from cloudpriv.rights.tables import SubjectRequest

OF_IDENTITY: Final = "identity_code"
OF_REQUEST: Final = "request_code"  # what staff asks for who made a request by letter or mail
CHANGED: Final = "password_changed"  # the mail that tells a person of it, whoever it was
ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32 letters and digits, without I, O, 0 and 1
LENGTH: Final = 8  # of 5 bits each


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `delivery.deliver`."""
    contents: Mapping[str, Content] = {
        OF_IDENTITY: _told,
        OF_REQUEST: _of_request(post),
        CHANGED: lambda *_: {"portal": post.portal},
    }
    return {kind: delivery.to_person(content) for kind, content in contents.items()}


def written(key: DataKey, code_id: UUID) -> str:
    """The code of an id, as the mail shows it."""
    number = int.from_bytes(key.blind_index("one-time code", code_id.hex)[: LENGTH * 5 // 8])
    code = "".join(ALPHABET[number >> (5 * place) & 31] for place in reversed(range(LENGTH)))
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def _told(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
    """The code of a mail, as long as it is good. Raises DroppedError."""
    return {"code": written(account.key, _good(tx, account, mail).code_id)}


def _of_request(post: Post) -> Content:
    def told(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
        code = _good(tx, account, mail)
        row: Any = tx.session.get(SubjectRequest, (code.account_id, code.subject_id))
        if row is None or row.status != "received":
            raise DroppedError("not_so_any_more")
        return {**letters.about_request(post, account, row), "code": written(account.key, code.code_id)}

    return told


def _good(tx: Tx, account: OpenedAccount, mail: Mail) -> OneTimeCode:
    """Raises DroppedError."""
    row: OneTimeCode | None = None
    if mail.subject_id is not None:
        row = tx.session.get(OneTimeCode, (account.row.account_id, mail.subject_id))
    if row is None or row.used_at is not None or row.expires_at <= tx.now:
        raise DroppedError("over")
    return row
