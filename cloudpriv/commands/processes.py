"""Long-running commands: each plane's API, worker and schedule."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from cloudpriv import serving
from cloudpriv.commands.apart import require_own
from cloudpriv.commands.context import (
    chosen_planes,
    chosen_stack,
    controller_services,
    environment,
    fail,
    of_planes,
    processor_services,
    require_current,
    require_replayed,
)
from cloudpriv.config import PREFIX, PROCESSOR_PREFIX, ProcessorSettings, Settings
from cloudpriv.database import PlaneName
from cloudpriv.platform.logs import configure_logging
from workers import main as worker_main
from workers import processor_main, processor_schedule
from workers import schedule as worker_schedule

DEFAULT_FOLDER: Final = "var/embedded"
ISSUER: Final = f"{PROCESSOR_PREFIX}TOKEN_ISSUER"


@click.command()
@click.option("--embedded", type=click.Path(path_type=Path, file_okay=False), is_flag=False, flag_value=Path(DEFAULT_FOLDER),
              help=f"Run the embedded stack in this folder ({DEFAULT_FOLDER}) with API, worker and schedule.")  # fmt: skip
@click.option("--bind", help="Address and port to listen on (CLOUDPRIV_BIND); of two planes, log data has the next port.")
@of_planes
@click.pass_context
def serve(ctx: click.Context, embedded: Path | None, bind: str | None, plane: str | None) -> None:
    """Serve the API; with the embedded stack, worker and schedule too."""
    root = ctx.find_root()
    root.obj = embedded or root.obj
    planes = _chosen(ctx, plane)
    with environment(_addresses(planes, bind)), chosen_stack(ctx):
        found = {each: _able_to_serve(each) for each in planes}
        if root.obj is not None or len(planes) > 1:
            _serve_side_by_side(found, root.obj)
            return
    serving.serve(found[planes[0]])


def _chosen(ctx: click.Context, given: str | None) -> tuple[PlaneName, ...]:
    """The planes to start processes of, none of which finds what it should not; the embedded stack is one user's anyway."""
    planes = chosen_planes(ctx, given)
    if ctx.find_root().obj is None:
        require_own(os.environ, planes)
    return planes


def _addresses(planes: tuple[PlaneName, ...], bind: str | None) -> dict[str, str]:
    """The settings that `bind` stands for."""
    if bind is None:
        return {}
    host, _, port = bind.rpartition(":")
    both = len(planes) > 1 and port.isdecimal()
    of_log_data = f"{host}:{int(port) + 1}" if both else bind
    named: dict[str, str] = {}
    if "controller" in planes:
        named |= {f"{PREFIX}BIND": bind, f"{PREFIX}ISSUER": f"http://{bind}"}
    if "processor" in planes:
        named |= {f"{PROCESSOR_PREFIX}BIND": of_log_data, f"{PROCESSOR_PREFIX}URL": f"http://{of_log_data}"}
    return named


def _able_to_serve(plane: PlaneName) -> Settings | ProcessorSettings:
    """The settings of a plane's API that nothing keeps from serving."""
    settings: Settings | ProcessorSettings
    if plane == "processor":
        with processor_services("api") as log_data:
            require_current(log_data)
            settings = log_data.settings
    else:
        with controller_services("api") as built:
            require_replayed(built)
            settings = built.settings
    if not serving.is_free(settings.bind):
        fail(f"{settings.bind} is in use: stop what listens there, or choose another with --bind")
    return settings


def _serve_side_by_side(found: Mapping[PlaneName, Settings | ProcessorSettings], folder: Path | None) -> None:
    commands = ("serve",) if folder is None else serving.SIDE_BY_SIDE
    known = _issuer(found.get("controller"))
    with serving.side_by_side([(plane, command) for plane in found for command in commands], known) as children:
        try:
            if all(serving.await_answer(each.bind, children[plane, "serve"]) for plane, each in found.items()):
                _say_where({plane: f"http://{each.bind}" for plane, each in found.items()}, folder)
            serving.keep_running(children, known)
        except KeyboardInterrupt:
            click.echo("Stopping.")
            return
        ended = ((plane, child.poll()) for (plane, command), child in children.items() if command == "serve")
        told = [_how_it_ended(plane, status) for plane, status in ended if status is not None]
    raise click.ClickException("; ".join(told))


def _how_it_ended(plane: PlaneName, status: int) -> str:
    by = f"by {signal.Signals(-status).name}" if status < 0 else f"with {status}; its messages are above"
    return f"the API of the {plane} plane ended {by}"


def _issuer(controller: Settings | ProcessorSettings | None) -> dict[str, str]:
    """By which the processor plane knows the tokens of the other, unless it is set."""
    return {ISSUER: os.environ.get(ISSUER, controller.issuer)} if isinstance(controller, Settings) else {}


def _say_where(urls: Mapping[PlaneName, str], folder: Path | None) -> None:
    where = " and, for log data, ".join(urls.values())
    running = "" if folder is None else f" (API, worker, schedule; data in {folder})"
    click.echo(f"Serving on {where}{running}. Ctrl-C stops everything.")
    if folder is not None and "controller" in urls:
        make = f"cloudpriv --embedded {folder} client create …"
        click.echo(f"Read {urls['controller']}/docs, and make a client with: {make}")
    if "controller" in urls:
        how = "with the account name, username and password that a client registered"
        click.echo(f"Open the portal at {urls['controller']}/portal/ and sign in there {how}.")


@click.command()
@of_planes
@click.option("--burst", is_flag=True, help="Stop when the queue is empty.")
@click.pass_context
def worker(ctx: click.Context, plane: str | None, burst: bool) -> None:
    """Carry out exports and purges, and what is to be done with log data, until stopped."""
    planes = _chosen(ctx, plane)
    with chosen_stack(ctx):
        if len(planes) > 1:
            _run_side_by_side(planes, "worker --burst" if burst else "worker", until_all_end=burst)
        elif planes[0] == "controller":
            _work(burst, embedded=ctx.find_root().obj is not None)
        else:
            with processor_services("worker") as built:
                configure_logging(built.settings.log_level)
                require_current(built)
                processor_main.run(built.settings, burst=burst)


def _work(burst: bool, *, embedded: bool) -> None:
    """Work in this process: where it need not stop an embedded stack at its end, without what only other commands need."""
    with controller_services("worker") as built:
        configure_logging(built.settings.log_level)
        built.require_proof_key()
        require_replayed(built)
        if embedded:
            worker_main.run(built.settings, burst=burst)
            return
    os.execv(sys.executable, [sys.executable, "-P", "-m", "workers", *(["--burst"] if burst else [])])  # noqa: S606  our own


@click.command()
@of_planes
@click.pass_context
def schedule(ctx: click.Context, plane: str | None) -> None:
    """Wake workers for what is unfinished, and keep the daily clocks, until stopped."""
    planes = _chosen(ctx, plane)
    with chosen_stack(ctx):
        if len(planes) > 1:
            _run_side_by_side(planes, "schedule")
        elif planes[0] == "controller":
            with controller_services("worker") as built:
                configure_logging(built.settings.log_level)
                require_replayed(built)
                worker_schedule.run(built)
        else:
            with processor_services("worker") as log_data:
                configure_logging(log_data.settings.log_level)
                require_current(log_data)
                processor_schedule.run(log_data)


def _run_side_by_side(planes: tuple[PlaneName, ...], command: str, *, until_all_end: bool = False) -> None:
    with serving.side_by_side([(plane, command) for plane in planes], {}) as children:
        code = serving.await_end(children, of_all=until_all_end)
    sys.exit(code)
