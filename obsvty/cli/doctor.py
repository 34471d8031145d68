"""`obsvty doctor`: what is set up, what is not, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from obsvty.cli.opened import read_settings
from obsvty.cli.options import Data, Json
from obsvty.cli.output import print_json

_SIGNS = {"ok": "ok  ", "off": "-   ", "bad": "BAD "}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(doctor)


def doctor(
    repo: Annotated[
        Path | None, typer.Option("--repo", metavar="PATH", help="Check this clone as well.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """What is set up, what is not, and the command that mends it; exit code 1 when something is broken."""
    from obsvty.doctor import examine

    checks = examine(read_settings(data), repo=repo)
    if json:
        print_json([{"name": c.name, "state": c.state, "text": c.text, "mend": c.mend} for c in checks])
    for c in [] if json else checks:
        print(f"{_SIGNS[c.state]}{c.name:<14}{c.text}")
        if c.mend:
            print(f"{'':<18}{c.mend}")
    if any(c.state == "bad" for c in checks):
        raise typer.Exit(1)
