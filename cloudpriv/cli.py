"""`cloudpriv`: serve, work, operate. What destroys is a dry run unless --execute.

Exit codes: 0 done, 1 failed (one line says why), 2 wrong usage.
"""

from importlib.metadata import version
from pathlib import Path

import click

from cloudpriv.commands import (
    clocks,
    data,
    demo,
    forecast,
    keys,
    logdata,
    mail,
    processes,
    proof,
    purges,
    registers,
    replay,
    requests,
    rights,
)
from cloudpriv.commands.context import Group
from cloudpriv.commands.export import export


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("cloudpriv"))
@click.option("--embedded", type=click.Path(path_type=Path, file_okay=False), envvar="CLOUDPRIV_EMBEDDED",
              help="Use the embedded PostgreSQL, Valkey and S3 with their data in this folder.")  # fmt: skip
@click.pass_context
def main(ctx: click.Context, embedded: Path | None) -> None:
    """Keep the promises of an industrial-IoT cloud's privacy policy."""
    ctx.obj = embedded


for command in (processes.serve, processes.worker, processes.schedule, demo.demo, registers.db, registers.client,
                data.ingest, purges.purge, export, requests.requests, rights.owners,
                rights.restriction, proof.certificate, proof.audit, clocks.retention, logdata.logdata, mail.mail, keys.keys,
                registers.openapi, registers.policy):  # fmt: skip
    main.add_command(command)
clocks.retention.add_command(forecast.show_forecast)
purges.purge.add_command(replay.replay)

if __name__ == "__main__":
    main()
