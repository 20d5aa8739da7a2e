"""Style sheet, script and icon: served from memory, for ever, at an address that changes with their content."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from flask import Response, url_for
from werkzeug.exceptions import NotFound

TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file, and the hash that stands in its address."""

    content: bytes
    version: str


def address(name: str) -> str:
    """The address of a file in `static/`. Raises KeyError for one that is not there."""
    return url_for("frame.asset", version=ASSETS[name].version, name=name)


def send(version: str, name: str) -> Response:
    """The file, to be kept for ever; raises NotFound for an unknown one.

    A page of another release asks for another version while servers are being replaced: it gets ours, and keeps it not.
    """
    found = ASSETS.get(name)
    if found is None:
        raise NotFound
    kept = FOR_EVER if version == found.version else "no-store"
    return Response(found.content, content_type=TYPES[name.rpartition(".")[2]], headers={"Cache-Control": kept})


def _read() -> dict[str, Asset]:
    folder = files("cloudpriv.portal") / "static"
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}
    return {name: Asset(content, hashlib.sha256(content).hexdigest()[:16]) for name, content in found.items()}


ASSETS: Final = _read()
