"""`python -m tests.bench [NAME…] [--scale 0.1]`: every figure, or those named, as one line of JSON each.

What each is hoped to be at least stands in TARGETS and is never asserted: that would test the machine.
"""

import argparse
import sys
from typing import Final

from cloudpriv.embedded.signals import stop_on_sigterm
from tests.bench import export, export_large, get, ingest, plan, points, purge, read, scaling, verify
from tests.bench.stage import prepared

TARGETS: Final = {
    "ingest_vs_copy": 0.40,
    "verify_vs_argon2": 0.90,
    "get_vs_hello": 0.25,
    "export_vs_copy": 0.80,
    "export_rss": 0.90,  # flat: a tenth more memory for ten times the records would already be strange
    "export_5m": 1.00,  # within the bound
    "purge_vs_sql": 0.50,
    "plan_1m": 1.00,  # within the bound
    "purge_scaling": 0.77,  # takes at most 1.3 times as long
    "points_vs_parquet": 0.15,
    "points_vs_parquet_of_lines": 0.15,
    "read_vs_parquet": 0.30,
    "log_storage": 1.00,  # within the bound
}
MEASURES: Final = {
    ("ingest_vs_copy",): ingest.measure,
    ("verify_vs_argon2",): verify.measure,
    ("get_vs_hello",): get.measure,
    ("export_rss", "export_vs_copy"): export.measure,
    ("export_5m",): export_large.measure,
    ("purge_vs_sql",): purge.measure,
    ("plan_1m",): plan.measure,
    ("purge_scaling",): scaling.measure,
    ("points_vs_parquet", "points_vs_parquet_of_lines"): points.measure,
    ("read_vs_parquet", "log_storage"): read.measure,
}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures beside their baselines.")
    parser.add_argument("names", nargs="*", choices=[*TARGETS, []], metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all sizes (default 1)")
    wanted = parser.parse_args()
    with stop_on_sigterm(), prepared(wanted.scale) as stage:
        for names, measure in MEASURES.items():
            if wanted.names and not set(names) & set(wanted.names):
                continue
            for figure in measure(stage):
                sys.stderr.write(f"{figure.name}: {figure.ratio:.2f} (target {TARGETS[figure.name]:.2f})\n")
                sys.stdout.write(figure.line() + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
