"""Lines of the access log: what the policy's "web server logs" name, in the Combined Log Format that tools read.

Written only where the settings name a folder. Paths are written when every part that varies is an id, else as their route;
query strings never, and of a Referer only its domain.
"""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import Flask, Response, request

from cloudpriv.api.endpoint import call, now
from cloudpriv.api.operations import METHODS
from cloudpriv.platform import accesslog

log = structlog.get_logger(__name__)

DOMAIN: Final = re.compile(r"[a-z0-9.-]{1,253}|[0-9a-f:]{2,45}")
LONGEST: Final = 400  # characters of a browser's name
UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")  # quotes, backslashes, and whatever is not printable ASCII


def install(app: Flask) -> None:
    """Write a line for every response, where the settings name a folder."""
    app.after_request(_write)


def _write(response: Response) -> Response:
    folder = call().run.services.settings.access_log_dir
    if folder is not None:
        try:
            accesslog.append(Path(folder), now(), _line(response))
        except OSError as fault:  # a full disk refuses no request
            log.warning("access_log_unwritten", fault=type(fault).__name__, errno=fault.errno)
    return response


def _line(response: Response) -> str:
    size = response.calculate_content_length()
    method = request.method if request.method in METHODS else "unknown"
    referrer, browser = _domain(request.headers.get("Referer", "")), request.headers.get("User-Agent", "")
    return (
        f'{request.remote_addr or "-"} - - [{now():%d/%b/%Y:%H:%M:%S +0000}] "{method} {_path()} '
        f'{request.environ.get("SERVER_PROTOCOL", "HTTP")}" {response.status_code} {"-" if size is None else size} '
        f'"{referrer}" "{_escaped(browser[:LONGEST]) or "-"}"'
    )


def _path() -> str:
    """The path if all that varies in it is ids, else the route; nothing of a path that we do not know."""
    if request.url_rule is None:
        return "unknown"
    only_ids = all(isinstance(value, UUID | int) for value in (request.view_args or {}).values())
    return request.path if only_ids else request.url_rule.rule


def _domain(referrer: str) -> str:
    try:
        found = urlsplit(referrer).hostname or ""
    except ValueError:
        return "-"
    return found if DOMAIN.fullmatch(found) else "-"


def _escaped(text: str) -> str:
    return UNSAFE.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "replace")), text)
