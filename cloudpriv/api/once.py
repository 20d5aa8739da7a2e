"""A POST with an Idempotency-Key is carried out once, in one transaction with the answer that is kept."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from flask import Response, current_app, request

from cloudpriv.api.body import quoted_key, whole_body
from cloudpriv.api.endpoint import request_id
from cloudpriv.controller import idempotency
from cloudpriv.controller.idempotency import Answer
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy

KEPT_HEADERS: Final = ("ETag", "Location", "Content-Type")


def answer_once(tx: Tx, view: Callable[..., Any], kwargs: dict[str, Any], policy: Policy, *, names_account: bool) -> Any:
    """The view's answer, or the one that was given to the same request; kept as long as the policy says.

    `names_account` says that the answer names the account it tells of, as `account_id` or else as its `id`; without, it is
    that of the path or of the account holder who asks. Raises what `idempotency.claim` does.
    """
    header = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    if header is None:
        return view(tx, **kwargs)
    claimed = idempotency.claim(tx, quoted_key(header), _fingerprint())
    if claimed.earlier is not None:
        return _given_again(claimed.earlier)
    response = current_app.make_response(view(tx, **kwargs))
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    account_id = _named(response) if names_account else kwargs.get("account_id", tx.actor.account_id)
    answer = Answer(response.status_code, {"headers": kept, "body": response.get_data(as_text=True)})
    until = policy.rule_for("idempotency_keys").erasable_from(tx.now)
    idempotency.keep_answer(tx, claimed, account_id, request_id(), answer, expires_at=until)
    return response


def _named(response: Response) -> UUID | None:
    if response.status_code >= 400:  # a refusal that is kept, since what it counts is: it tells of nobody
        return None
    told = response.get_json()
    return UUID(told.get("account_id", told["id"]))


def _fingerprint() -> bytes:
    return b"\0".join((request.method.encode(), request.full_path.encode(), whole_body()))


def _given_again(earlier: Answer) -> Response:
    return Response(earlier.content["body"], earlier.status, headers=earlier.content["headers"])
