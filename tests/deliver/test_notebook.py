"""The incident notebook: its cells are the analysis, and only the gate's copy reaches the disk."""

from __future__ import annotations

import ast
import json
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from obsvty.deliver.notebook import (
    execute_notebook,
    incident_document,
    incident_notebook,
    to_document,
    write_incident_notebook,
)
from obsvty.errors import DocumentError
from obsvty.privacy import Gate, Ledger

CARD = "4111 1111 1111 1111"


@pytest.fixture(scope="module")
def story() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "notebook" / "story_case.py")))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(ledger=Ledger(tmp_path / "state.db"), incident_id="inc-0a1b2c3d")


def _outputs(notebook: nbformat.NotebookNode) -> list[dict[str, str]]:
    return [o["data"] for c in notebook.cells if c.cell_type == "code" for o in c.outputs]


def test_the_verdict_comes_first_and_the_parameters_are_tagged(
    story: SimpleNamespace, tmp_path: Path
) -> None:
    snapshot = story.write_snapshot(tmp_path)
    notebook = incident_notebook(story.INVESTIGATION, snapshot=snapshot, folder=tmp_path)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith(
        "# POST /pay (till): latency 100 to 400 ms, x4.0\n\n**Code change**"
    )
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert [ast.unparse(x) for x in ast.parse(tagged[0].source).body] == [
        "incident_id = 'inc-0a1b2c3d'",
        "service = 'till'",
        "operation = 'POST /pay'",
        "baseline = ('2026-03-02T10:00:00.000Z', '2026-03-02T10:00:30.000Z')",
        "window = ('2026-03-02T10:00:30.000Z', '2026-03-02T10:01:00.000Z')",
    ]
    assert set(notebook.metadata.obsvty.snapshot) == {"logs.parquet", "traces.parquet"}


def test_equal_investigations_give_equal_notebooks(story: SimpleNamespace, tmp_path: Path) -> None:
    snapshot = story.write_snapshot(tmp_path)
    one, two = (incident_notebook(story.INVESTIGATION, snapshot=snapshot, folder=tmp_path) for _ in range(2))
    assert json.dumps(one) == json.dumps(two)


def test_a_hostile_name_starts_no_cell_and_no_code(story: SimpleNamespace, tmp_path: Path) -> None:
    name = "POST\n# %%\nimport os; os.remove('x')'''\n"
    inv = story.INVESTIGATION
    hostile = replace(
        inv,
        findings=(replace(inv.findings[0], operation=name),),
        operation_diff=replace(inv.operation_diff, operation=name),
        summary=name,
        ruled_out=(name,),
    )
    snapshot = story.write_snapshot(tmp_path)
    plain = incident_notebook(inv, snapshot=snapshot, folder=tmp_path)
    notebook = incident_notebook(hostile, snapshot=snapshot, folder=tmp_path)
    assert len(notebook.cells) == len(plain.cells)
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    changed = [
        a
        for a, b in zip(code, [c.source for c in plain.cells if c.cell_type == "code"], strict=True)
        if a != b
    ]
    assert len(changed) == 1  # the parameters, where it is a literal
    assert f"operation = {name!r}" in changed[0]
    assert "<img" not in "".join(c.source for c in notebook.cells).replace("\\<img", "")


def test_without_a_diff_or_logs_their_cells_are_left_out(story: SimpleNamespace, tmp_path: Path) -> None:
    snapshot = story.write_snapshot(tmp_path)
    del snapshot["logs"]
    bare = replace(story.INVESTIGATION, operation_diff=None, suspects=(), attribution=None, documents=())
    notebook = incident_notebook(bare, snapshot=snapshot, folder=tmp_path)
    text = "\n".join(c.source for c in notebook.cells)
    assert "operation_diff" not in text
    assert "snapshot.logs" not in text
    assert "suspect" not in text.lower()


def test_no_incident_is_no_notebook(story: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no incident"):
        incident_notebook(replace(story.INVESTIGATION, window=None), snapshot={}, folder=tmp_path)


def test_a_snapshot_elsewhere_is_refused(story: SimpleNamespace, tmp_path: Path) -> None:
    snapshot = story.write_snapshot(tmp_path / "elsewhere")
    with pytest.raises(DocumentError, match=r"not logs\.parquet beside the notebook"):
        incident_notebook(story.INVESTIGATION, snapshot=snapshot, folder=tmp_path)


def test_the_written_notebook_ran_and_runs_again_without_a_store(
    story: SimpleNamespace, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSVTY_DATA_DIR", str(tmp_path / "there is no store"))
    folder = tmp_path / "incident"
    snapshot = story.write_snapshot(folder)
    path = write_incident_notebook(story.INVESTIGATION, gate=gate, snapshot=snapshot, folder=folder)
    assert path == folder / "inc-0a1b2c3d.ipynb"
    written = nbformat.read(path, 4)
    shown = json.dumps(_outputs(written))
    assert "p50 100 ms before, 400 ms after (60 requests)" in shown
    assert "risk/score" in shown
    assert sum("image/svg+xml" in data for data in _outputs(written)) == 2

    again = nbformat.read(path, 4)
    execute_notebook(again, folder)
    assert again == written
    assert not (tmp_path / "there is no store").exists()


def test_a_secret_in_telemetry_is_in_the_snapshot_but_not_in_the_notebook(
    story: SimpleNamespace, gate: Gate, tmp_path: Path
) -> None:
    snapshot = story.write_snapshot(tmp_path, body=f"paid with {CARD}")
    change = replace(story.INVESTIGATION.log_changes[0], template=f"paid with {CARD}")
    leaky = replace(story.INVESTIGATION, log_changes=(change,), summary=f"card {CARD} was slow")
    document = incident_document(leaky, gate=gate, snapshot=snapshot, folder=tmp_path)
    text = json.dumps(document.content)
    assert CARD not in text
    assert CARD.replace(" ", "") not in text
    assert document.redactions


def test_a_failing_cell_is_named_by_its_error_and_shows_no_value(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(f"raise ValueError({CARD!r})")],
        metadata={"kernelspec": {"name": "obsvty", "display_name": "", "language": "python"}},
    )
    with pytest.raises(DocumentError, match="failed with ValueError") as failed:
        execute_notebook(notebook, tmp_path)
    assert CARD not in str(failed.value)


def test_the_document_for_the_gate_holds_each_text_in_one_piece(
    story: SimpleNamespace, tmp_path: Path
) -> None:
    snapshot = story.write_snapshot(tmp_path)
    notebook = incident_notebook(story.INVESTIGATION, snapshot=snapshot, folder=tmp_path)
    cells = to_document(notebook)["cells"]
    assert isinstance(cells, list)
    assert all(isinstance(cell["source"], str) for cell in cells)


def test_a_kernel_that_does_not_start_is_a_document_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ipykernel.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # only the kernel's process sees it
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    with pytest.raises(DocumentError, match="did not finish"):
        execute_notebook(notebook, tmp_path)
