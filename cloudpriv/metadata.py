"""The tables of both planes, all imported: what migrations, export, erasure and the closed-set checks walk."""

from typing import Final

from sqlalchemy import MetaData

import cloudpriv.audit.events
import cloudpriv.audit.tables
import cloudpriv.controller.clients
import cloudpriv.controller.holder_tables
import cloudpriv.controller.idempotency
import cloudpriv.controller.outbox
import cloudpriv.controller.tables
import cloudpriv.processor.order_tables
import cloudpriv.processor.tables
import cloudpriv.retention.tables
import cloudpriv.rights.tables  # noqa: F401  each import registers its tables
from cloudpriv.platform.db import ControllerBase, ProcessorBase

CONTROLLER: Final[MetaData] = ControllerBase.metadata
PROCESSOR: Final[MetaData] = ProcessorBase.metadata
