"""Synthetic telemetry for localization."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

STORY = Path(__file__).parent.parent / "detect" / "telemetry_story.py"


@pytest.fixture(scope="session")
def story() -> ModuleType:
    """The module that makes small telemetry."""
    name = "obsvty_telemetry_story"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, STORY)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
