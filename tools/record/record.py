"""Record the demo's traffic from a real FreeRADIUS and a real OpenVPN server."""

import argparse
import gzip
import json
import os
import shutil
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

import run_freeradius
import run_openvpn

RECORDING = Path(__file__).parents[2] / "cloudpriv" / "demo" / "recording"
# Debian's package by something that only it brings.
PACKAGES = {
    "freeradius": "/usr/sbin/freeradius",
    "freeradius-rest": "/usr/lib/freeradius/rlm_rest.so",
    "freeradius-utils": "/usr/bin/radclient",
    "iproute2": "/usr/sbin/ip",
    "openvpn": "/usr/sbin/openvpn",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the recording goes")
    out: Path = parser.parse_args().out
    _check_machine()
    # An ordinary exit, so that every server is stopped and every namespace removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    out.mkdir(parents=True, exist_ok=True)
    if out.resolve() != RECORDING:
        shutil.copy(RECORDING / "accounts.toml", out)
    accounts = tomllib.loads((RECORDING / "accounts.toml").read_text(encoding="utf-8"))["account"]
    with tempfile.TemporaryDirectory() as folder:
        _write_lines(out / "radius.jsonl.gz", run_freeradius.record(accounts, _subfolder(folder, "radius")))
        tunnels = run_openvpn.record(accounts, _subfolder(folder, "openvpn"))
    _write_lines(out / "openvpn.jsonl.gz", tunnels.events)
    for version, text in tunnels.status.items():
        name = "openvpn-status.log" if version == 2 else f"openvpn-status-v{version}.log"
        (out / name).write_text(text, encoding="utf-8")


def _check_machine() -> None:
    missing = [package for package, file in PACKAGES.items() if not Path(file).exists()]
    if missing:
        sys.exit(f"missing Debian packages: {' '.join(missing)} (apt-get install {' '.join(missing)})")
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        sys.exit("network namespaces and /dev/net/tun are needed: run as root on a machine that has them")


def _subfolder(folder: str, name: str) -> Path:
    made = Path(folder) / name
    made.mkdir(mode=0o700)
    return made


def _write_lines(file: Path, items: Iterable[object]) -> None:
    """JSON lines through gzip; without a time in the header, so that equal lines give equal files."""
    lines = "".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n" for item in items)
    file.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
