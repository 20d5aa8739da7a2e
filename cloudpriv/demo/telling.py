"""What the demo shows: each step while it runs, what it did and how long it took, and all of them in a table at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from cloudpriv.platform.errors import DomainError

PLAIN_WIDTH: Final = 140  # columns of the table where no terminal says how many there are


class StepFailed(Exception):  # noqa: N818  it reads as what happened
    """A step did not do what it must; the text is one line that names the step and the reason."""


@dataclass
class Step:
    """One step: what it did in one line, more lines below it, and its figures for JSON."""

    number: int
    title: str
    did: str = ""
    lines: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The step as a JSON object; its figures are members."""
        told = {"step": self.number, "title": self.title, "did": self.did, "seconds": round(self.seconds, 3)}
        return {**told, **self.figures}


class Telling:
    """Shows steps as they happen, unless `silent`, and keeps them."""

    def __init__(self, *, silent: bool = False) -> None:
        self.steps: list[Step] = []
        self._silent = silent
        self._screen = Console(highlight=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step, timed and shown when it ends. What is raised in it becomes StepFailed."""
        step = Step(len(self.steps) + 1, title)
        began = time.perf_counter()
        live = self._screen.is_terminal and not self._silent
        with self._screen.status(f"{step.number:2}  {title} …") if live else nullcontext():
            try:
                yield step
            except Exception as fault:
                raise StepFailed(f"step {step.number} ({title}) failed: {reason(fault)}") from fault
        step.seconds = time.perf_counter() - began
        self.steps.append(step)
        self._show(step)

    def table(self) -> None:
        """Print all steps with their times."""
        if self._silent:
            return
        table = Table("", "step", "what it did", "seconds", title="The whole life of an account", title_justify="left")
        table.columns[-1].justify = "right"
        for step in self.steps:
            table.add_row(str(step.number), step.title, step.did, f"{step.seconds:.1f}")
        table.add_row("", "in all", "", f"{sum(step.seconds for step in self.steps):.1f}")
        screen = self._screen if self._screen.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
        screen.print(table, markup=False)

    def _show(self, step: Step) -> None:
        if self._silent:
            return
        click.echo(f"{step.number:2}  {step.title}: {step.did} ({step.seconds:.1f} s)")
        for line in step.lines:
            click.echo(f"      {line}")


def reason(fault: Exception) -> str:
    """Why it failed, in one line: the details of our own errors are safe to show; of a foreign one only its first line."""
    text = fault.detail if isinstance(fault, DomainError) else str(fault)
    first = text.strip().partition("\n")[0]
    return first or type(fault).__name__


def counted(number: int, thing: str) -> str:
    """A number of things in words: `1 row`, `2,000 rows`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def require(holds: bool, otherwise: str) -> None:
    """Raises ValueError with the text unless it holds."""
    if not holds:
        raise ValueError(otherwise)
