"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data folder. Default: OBSVTY_DATA_DIR, else the platform's user data folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Repo = Annotated[
    Path | None,
    typer.Option("--repo", metavar="PATH", help="Clone to look for the commit in. Default: the settings."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file. Default: obsvty.toml, if it is here."),
]
IncidentId = Annotated[
    str, typer.Argument(metavar="INCIDENT", help="Id of an incident; its beginning will do.")
]
