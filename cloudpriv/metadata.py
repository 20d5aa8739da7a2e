"""The controller plane's tables, all imported: what migrations, export, erasure and the closed-set checks walk."""

from typing import Final

from sqlalchemy import MetaData

import cloudpriv.audit.events
import cloudpriv.audit.tables
import cloudpriv.controller.clients
import cloudpriv.controller.idempotency
import cloudpriv.controller.outbox
import cloudpriv.controller.tables
import cloudpriv.retention.tables
import cloudpriv.rights.tables  # noqa: F401  each import registers its tables
from cloudpriv.platform.db import ControllerBase

CONTROLLER: Final[MetaData] = ControllerBase.metadata
