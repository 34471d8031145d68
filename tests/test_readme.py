"""The README's first screen is what the demo prints, and its Python runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from obsvty.deliver.verdict import verdict_screen
from obsvty.session import Session

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_first_screen_is_what_the_demo_prints(open_demo: Callable[..., Session], demo: object) -> None:
    with open_demo() as session:
        screen = str(verdict_screen(session.investigate(repo=demo.repo)))
    shown = README.split("$ uv run obsvty demo\n", 1)[1].split("\n\n", 1)[0]
    assert shown.split() == screen.split()


def test_the_python_example_runs(demo: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "obsvty-demo").mkdir()
    (tmp_path / "obsvty-demo" / "data").symlink_to(demo.data)
    with Session(demo.data, __import__("obsvty").load_settings()) as session:
        session.investigate(repo=demo.repo)  # the demo does so: the clone is known from then on
    names: dict[str, object] = {}
    exec(code[1], names)
    assert names["inv"].suspects[0].commit.revision.startswith("d34db33f")


def test_it_is_short_and_every_command_in_it_exists() -> None:
    from obsvty.cli import app

    assert len(README.splitlines()) < 150
    known = {c.name or c.callback.__name__ for c in app.registered_commands} | {
        g.name for g in app.registered_groups
    }
    used = set(re.findall(r"(?:uv run|uv run --extra \w+) obsvty ([a-z]+)", README))
    assert used
    assert used <= known
