"""The `obsvty` command: thin doors to the public API. Results go to stdout, all else to stderr."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from obsvty import __version__
from obsvty.cli import ask, data, demo, doctor, egress, opened, stamp
from obsvty.cli.output import print_error
from obsvty.errors import ObsvtyError

app = typer.Typer(
    name="obsvty",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Why did it break, which commit, which lines, and how to fix it: from plain OTLP, on your own machine.\n\n"
        "Start with `obsvty demo`. Exit codes: **0** done, **1** failed, **2** usage or settings, "
        "**3** asked and found nothing."
    ),
)


def _version(asked: bool) -> None:
    if asked:
        print(f"obsvty {__version__}")
        raise typer.Exit


@app.callback()
def options(
    data_dir: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Data folder for any command.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file.")] = None,
    version: Annotated[  # noqa: ARG001 typer calls _version with it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done, to stderr.")] = False,
) -> None:
    """Options that stand before the command. `--debug` anywhere shows tracebacks."""
    opened.chosen.config, opened.chosen.data = config, data_dir
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


demo.add_to(app)
data.add_to(app)
ask.add_to(app)
egress.add_to(app)
doctor.add_to(app)
stamp.add_to(app)


def main() -> None:
    """Entry point: every error becomes a sentence, a hint and an exit code."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app(prog_name="obsvty")
    except ObsvtyError as error:
        if debug:
            raise
        print_error(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # the reader of our output (head, less) is gone; Python must not complain about it again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception as error:
        if debug:
            raise
        print(f"error: unexpected {type(error).__name__}. This is a bug in Obsvty.", file=sys.stderr)
        print("       Run the same command with --debug and report what it prints.", file=sys.stderr)
        raise SystemExit(1) from None
