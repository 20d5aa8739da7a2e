"""The worker of the processor plane (see workers.loop)."""

from functools import partial

import cloudpriv.metadata  # noqa: F401  registers every table, so that no erasure overlooks one
from cloudpriv.bootstrap import build_processor
from cloudpriv.config import ProcessorSettings
from cloudpriv.platform import watch as platform_watch
from cloudpriv.platform.jobs import PROCESSOR_QUEUE, queue
from cloudpriv.processor.storage import restored
from workers import processor
from workers.loop import carry_out, closing


def run(settings: ProcessorSettings, *, burst: bool = False) -> None:
    """Carry out the processor plane's tasks, in the same way; the database's restore is accepted first."""
    services, watch = build_processor(settings), platform_watch.Watch()
    processor.SERVICES.set(services)
    engines = [plane.engine for plane in (services.plane, services.teller) if plane is not None]
    require = partial(restored.require_current, services.plane, services.objects, services.clock)

    def look() -> None:
        watch.require(require, services.clock())

    with closing(services.redis, engines):
        carry_out(queue(services.redis, PROCESSOR_QUEUE), look, burst=burst)
