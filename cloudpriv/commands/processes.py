"""Long-running commands: the API, the worker, the schedule."""

from pathlib import Path
from typing import Final

import click

from cloudpriv import serving
from cloudpriv.app import configure_logging
from cloudpriv.commands.context import environment, fail, require_replayed, services
from workers import main as worker_main
from workers import schedule as worker_schedule

DEFAULT_FOLDER: Final = "var/embedded"


@click.command()
@click.option("--embedded", type=click.Path(path_type=Path, file_okay=False), is_flag=False, flag_value=Path(DEFAULT_FOLDER),
              help=f"Run the embedded stack in this folder ({DEFAULT_FOLDER}) with API, worker and schedule.")  # fmt: skip
@click.option("--bind", help="Address and port to listen on (CLOUDPRIV_BIND).")
@click.pass_context
def serve(ctx: click.Context, embedded: Path | None, bind: str | None) -> None:
    """Serve the API; with the embedded stack, worker and schedule too."""
    root = ctx.find_root()
    root.obj = embedded or root.obj
    given = {"CLOUDPRIV_BIND": bind, "CLOUDPRIV_ISSUER": f"http://{bind}"} if bind else {}
    with environment(given), services(ctx, "api") as built:
        require_replayed(built)
        settings = built.settings
        if not serving.is_free(settings.bind):
            fail(f"{settings.bind} is in use: stop what listens there, or choose another with --bind")
        if root.obj is not None:
            _serve_side_by_side(settings.bind, root.obj)
            return
    serving.serve(settings)


def _serve_side_by_side(bind: str, folder: Path) -> None:
    with serving.side_by_side({}) as children:
        try:
            if serving.await_answer(bind, children["serve"]):
                _say_where(bind, folder)
            serving.keep_running(children, {})
        except KeyboardInterrupt:
            click.echo("Stopping.")
            return
    raise click.ClickException("the API ended; its messages are above")


def _say_where(bind: str, folder: Path) -> None:
    click.echo(f"Serving on http://{bind} (API, worker, schedule; data in {folder}). Ctrl-C stops everything.")
    click.echo(f"Read http://{bind}/docs, and make a client with: cloudpriv --embedded {folder} client create …")


@click.command()
@click.option("--burst", is_flag=True, help="Stop when the queue is empty.")
@click.pass_context
def worker(ctx: click.Context, burst: bool) -> None:
    """Carry out exports and purges until stopped."""
    with services(ctx, "worker") as built:
        configure_logging(built.settings.log_level)
        built.require_proof_key()
        require_replayed(built)
        worker_main.run(built.settings, burst=burst)


@click.command()
@click.pass_context
def schedule(ctx: click.Context) -> None:
    """Wake workers for what is unfinished, and keep the daily clocks, until stopped."""
    with services(ctx, "worker") as built:
        configure_logging(built.settings.log_level)
        require_replayed(built)
        worker_schedule.run(built)
