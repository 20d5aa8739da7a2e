"""`python -m workers [--burst]`: the worker of the controller plane, by the settings of the environment."""

import sys

from cloudpriv.config import load
from cloudpriv.platform.errors import DomainError
from cloudpriv.platform.logs import configure_logging
from workers.main import run


def main() -> None:
    """Work until stopped; what stops it otherwise is one line, and the exit code 1, as of any command."""
    settings = load("worker")
    configure_logging(settings.log_level)
    try:
        run(settings, burst="--burst" in sys.argv[1:])
    except DomainError as fault:
        sys.exit(f"cloudpriv: {fault}")


if __name__ == "__main__":
    main()
