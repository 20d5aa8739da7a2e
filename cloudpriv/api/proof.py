"""/v1/certificates and the log's head and key: what proves an erasure, open to whoever knows the certificate's id."""

from contextlib import AbstractContextManager
from typing import Any, Final
from uuid import UUID

from flask import Response
from marshmallow import fields

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import PUBLIC, call, endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import Strict
from cloudpriv.audit import certificates, checkpoints, log
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError

blueprint: Final = Blueprint(
    "proof", __name__, url_prefix="/v1", description="Certificates of erasure, and the log they stand in."
)
ANYBODY: Final = Actor("client", "public")
TEXT: Final = "text/plain; charset=utf-8"


class CertificateOut(Strict):
    """A certificate with all that verifies it offline; none of it is personal data."""

    certificate = fields.Dict(required=True, metadata={"description": "What was erased; RFC 8785 gives its signed bytes."})
    signature = fields.String(required=True, metadata={"description": "Detached JWS (RFC 7515, appendix F), Ed25519."})
    proof = fields.String(required=True, metadata={"description": "c2sp.org/tlog-proof@v1, with a signed checkpoint."})


def _text(description: str) -> dict[str, Any]:
    return {"200": {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}}


@blueprint.route("/certificates/<uuid:certificate_id>", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.response(200, CertificateOut)
@blueprint.alt_response(409, description="It is signed and not in a published checkpoint yet.")
@blueprint.alt_response(503, description="The database does not answer.")
def read_certificate(certificate_id: UUID) -> Any:
    """Read a certificate of erasure with its signature and its proof of inclusion in the log."""
    with _reading() as tx:
        try:
            return certificates.document(tx, certificate_id)
        except NotFoundError:
            # Only a restore takes certificates from a database, and then another log begins. Before that an id that is not
            # there is nowhere: whoever asks for random ones, without a token, is not to cost a request to the store each.
            if not log.has_begun_anew(tx):
                raise
    return certificates.kept(runtime().services.ledger, certificate_id)


@blueprint.route("/audit/checkpoint", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.doc(responses=_text("A signed note (C2SP tlog-checkpoint)"))
@blueprint.alt_response(404, description="Nothing has been published yet.")
@blueprint.alt_response(503, description="The database does not answer.")
def read_checkpoint() -> Response:
    """Read the newest signed head of the log."""
    with _reading() as tx:
        note = checkpoints.newest_checkpoint(tx)
    if note is None:
        raise NotFoundError
    return Response(note, content_type=TEXT)


@blueprint.route("/audit/key", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.doc(responses=_text("Verifier keys (C2SP signed-note), one a line, of the newest log first"))
@blueprint.alt_response(404, description="There is no log yet.")
@blueprint.alt_response(503, description="The database does not answer.")
def read_key() -> Response:
    """Read the verifier key of every log; compare it with one had by another way."""
    with _reading() as tx:
        keys = log.verifier_keys(tx)
    if not keys:
        raise NotFoundError
    return Response("".join(f"{key}\n" for key in keys), content_type=TEXT)


def _reading() -> AbstractContextManager[Tx]:
    this = call()
    return runtime().services.controller.transaction(ANYBODY, this.now, request_id=this.id, read_only=True)
