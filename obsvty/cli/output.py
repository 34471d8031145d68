"""What commands print: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from obsvty.model import JsonValue

if TYPE_CHECKING:
    from obsvty.errors import ObsvtyError


class Progress(Protocol):
    """Told what is being done now, and how much of it is done."""

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None:
        """`step` is being done; `done` of `total` of it is."""
        ...


def print_json(value: JsonValue) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_error(error: ObsvtyError) -> None:
    """What failed and what to do, on stderr."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"       {error.hint}", file=sys.stderr)


def note(text: str) -> None:
    """A line for the person, not for the program that reads stdout."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(*, total_steps: int) -> Generator[Progress]:
    """A progress bar on a terminal, a line a step elsewhere; always on stderr."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def tell(step: str, done: int = 0, total: int = 0) -> None:
            del done, total
            if step not in seen:
                seen.add(step)
                note(f"{step} ...")

        yield tell
        return

    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description:<28}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Starting", total=float(total_steps))
        steps: list[str] = []

        def advance(step: str, done: int = 0, total: int = 0) -> None:
            if step not in steps:
                steps.append(step)
            part = done / total if total else 0.0
            bar.update(task, description=step, completed=len(steps) - 1 + part)

        yield advance
