"""notebooks/first-incident.ipynb, headless, on the obsvty kernel and the bundled capture."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from obsvty.deliver.notebook import execute_notebook
from obsvty.demo.bundled import clone_history, import_capture

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "first-incident.ipynb"


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert notebook.metadata.kernelspec.name == "obsvty"


def test_it_tells_the_story_down_to_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_capture(tmp_path / "data", progress=lambda _done, _all: None)
    clone_history(tmp_path / "shop")
    monkeypatch.setenv("OBSVTY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("OBSVTY_GIT__REPO", str(tmp_path / "shop"))
    notebook = nbformat.read(NOTEBOOK, 4)
    execute_notebook(notebook, tmp_path)
    said = {
        cell.source.splitlines()[0]: json.dumps([o.get("data") or o.get("text") for o in cell.outputs])
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert "2,637" in said["%obsvty status"]
    assert "d34db33f" in said["inv = obs.investigate()"]
    assert "d34db33f" in said["inv.attribution"]
    assert "d34db33" in said['print(chat.ask("What caused it?"))']
    assert "[E" in said['print(chat.ask("What caused it?"))']
    assert "Nothing has left this machine." in said["%obsvty egress"]
    assert "application/vnd.jupyter.widget-view+json" in said["chat = obs.chat(inv)"]
