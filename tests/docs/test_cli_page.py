"""docs/cli.md has every command."""

import re
from pathlib import Path

import typer

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")

PROMISED = {
    *("demo", "doctor", "stamp"),
    *("serve", "import", "query", "sanitize"),
    *("incidents", "investigate", "suspects", "compare", "context", "ask"),
    *("alert", "report", "docs", "egress"),
    *("lab", "mcp"),
}


def documented() -> set[str]:
    return set(re.findall(r"^### `obsvty ([a-z]+)`$", PAGE, re.MULTILINE))


def test_every_promised_command_is_documented() -> None:
    assert documented() == PROMISED


def test_every_command_that_exists_is_documented() -> None:
    from obsvty.cli import app

    commands = typer.main.get_command(app).commands
    assert set(commands) == documented()
    for name, command in commands.items():
        for inner in getattr(command, "commands", {}):
            assert re.search(rf"`obsvty {name} [^`]*\b{inner}\b", PAGE), f"obsvty {name} {inner}"


def test_every_exit_code_is_documented() -> None:
    from obsvty import errors

    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.ObsvtyError)
    }
    assert codes | {0} == {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
