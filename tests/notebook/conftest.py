"""The made-up incident of story_case.py, a gate, and a real IPython shell."""

from __future__ import annotations

import atexit
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell

from obsvty.context import build_context, build_facts
from obsvty.privacy import Gate, Ledger, SanitizedContext


@pytest.fixture(scope="session")
def story() -> SimpleNamespace:
    """The values and tables of tests/notebook/story_case.py."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("story_case.py"))))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(ledger=Ledger(tmp_path / "state.db"), incident_id="inc-0a1b2c3d")


@pytest.fixture
def context(gate: Gate, story: SimpleNamespace) -> SanitizedContext:
    return gate.context(build_context(story.INVESTIGATION), build_facts(story.INVESTIGATION))


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """An IPython that is not the process's singleton."""
    made = InteractiveShell(history_manager=None)
    yield made
    atexit.unregister(made.atexit_operations)  # it would run again at exit
    made.atexit_operations()
