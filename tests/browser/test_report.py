"""The report as its reader opens it: a file in a browser."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import nbformat.v4 as v4
import pytest
from playwright.sync_api import Page

import obsvty
from obsvty.context import build_context, build_facts
from obsvty.model import JsonObject
from obsvty.notebook.widgets import InsightChat
from obsvty.plugins.docs_notebook import NotebookDocGenerator
from obsvty.privacy import Gate, Ledger

pytestmark = pytest.mark.browser

ATTACK = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def _page(content: JsonObject, tmp_path: Path) -> Path:
    gate = Gate(ledger=Ledger(tmp_path / "state.db"), incident_id="inc-0a1b2c3d")
    path = tmp_path / "report.html"
    path.write_bytes(NotebookDocGenerator().render(gate.document("incident", content), "html").data)
    return path


def test_the_incident_report_asks_nothing_of_anybody(
    demo: dict[str, str], page: Page, outside: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in demo.items():
        monkeypatch.setenv(name, value)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(message.text))
    with obsvty.open() as obs:
        report = obs.report(obs.investigate(), to="html", output=tmp_path / "report.html")
    page.goto(report.as_uri())
    assert page.locator("h1").inner_text().startswith("POST /checkout (shop)")
    assert "d34db33f" in page.locator(".words table").first.inner_text()
    assert page.locator("img.figure").count() == 2
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert page.locator("details.code[open]").count() == 0
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert outside == []


def test_a_script_in_an_output_stays_dead(page: Page, outside: list[str], tmp_path: Path) -> None:
    output = v4.new_output("display_data", {"text/html": ATTACK})
    cells = [v4.new_markdown_cell(ATTACK), v4.new_code_cell("1", outputs=[output])]
    page.goto(_page(v4.new_notebook(cells=cells, metadata={"title": "mine"}), tmp_path).as_uri())
    page.wait_for_load_state("networkidle")
    assert page.title() == "mine"
    assert outside == []


def test_a_chat_is_readable_in_the_report_without_a_kernel(
    page: Page, outside: list[str], tmp_path: Path
) -> None:
    story = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "notebook" / "story_case.py")))
    inv = story.INVESTIGATION
    gate = Gate(ledger=Ledger(tmp_path / "chat.db"), incident_id=inv.incident_id)
    context = gate.context(build_context(inv), build_facts(inv))
    chat = InsightChat(context, lambda _question: iter(["It asks three times [E2]."]))
    chat.ask("why?")
    state = {"state": chat.get_state(), "model_name": "AnyModel", "model_module": "anywidget"}
    widgets = {"application/vnd.jupyter.widget-state+json": {"version_major": 2, "state": {"m": state}}}
    view = {"model_id": "m", "version_major": 2, "version_minor": 0}
    outputs = [
        v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": view}),
        v4.new_output("display_data", {"text/html": ATTACK}),
    ]
    content = v4.new_notebook(
        cells=[v4.new_code_cell("chat", outputs=outputs)],
        metadata=json.loads(json.dumps({"title": "mine", "widgets": widgets}, default=str)),
    )
    page.goto(_page(content, tmp_path).as_uri())
    page.locator(".obc-assistant").wait_for(timeout=5_000)
    page.locator("button.obc-cite").click()
    assert "3 new calls to risk/score" in page.locator(".obc-card").inner_text()
    assert not page.locator(".obc-form").is_visible()
    assert page.title() == "mine"
    page.screenshot(path=tmp_path / "chat.png")
    assert outside == []


def test_the_report_prints_to_pdf(tmp_path: Path) -> None:
    gate = Gate(ledger=Ledger(tmp_path / "state.db"), incident_id="inc-0a1b2c3d")
    content = v4.new_notebook(cells=[v4.new_markdown_cell("# It broke")], metadata={"title": "It broke"})
    rendered = NotebookDocGenerator().render(gate.document("incident", content), "pdf")
    assert rendered.data.startswith(b"%PDF-")
    assert rendered.media_type == "application/pdf"
