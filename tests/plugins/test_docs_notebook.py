"""Documents from a sanitized notebook: one file each, nothing asked of the network."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat import v4

from obsvty.context import build_context, build_facts
from obsvty.errors import DocumentError
from obsvty.model import JsonObject
from obsvty.notebook.widgets import InsightChat
from obsvty.plugins.docs_notebook import NotebookDocGenerator
from obsvty.ports import DocGenerator
from obsvty.ports.registry import load
from obsvty.privacy import Gate, Ledger, SanitizedDocument

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><rect width="1" height="1"/></svg>'


@pytest.fixture(scope="module")
def story() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "notebook" / "story_case.py")))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(ledger=Ledger(tmp_path / "state.db"), incident_id="inc-0a1b2c3d")


def _content(metadata: dict[str, object] | None = None, **widget: str) -> JsonObject:
    outputs = [
        v4.new_output("stream", name="stdout", text="printed"),
        v4.new_output(
            "display_data", {"image/svg+xml": SVG, "text/plain": "a square", "text/markdown": "*a square*"}
        ),
        v4.new_output(
            "display_data", {"text/html": "<table><tr><td>7</td></tr></table>", "text/markdown": "seven"}
        ),
    ]
    if widget:
        view = {"version_major": 2, "version_minor": 0, **widget}
        outputs.append(v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": view}))
    cells = [
        v4.new_markdown_cell("# It broke\n\nSee `x`."),
        v4.new_code_cell("secret_free = 1 + 1", outputs=outputs, execution_count=1),
    ]
    return v4.new_notebook(cells=cells, metadata={"title": "It broke", **(metadata or {})})


@pytest.fixture
def document(gate: Gate) -> SanitizedDocument:
    return gate.document("incident inc-0a1b2c3d", _content())


def test_it_is_found_by_its_name() -> None:
    assert load(DocGenerator, "notebook") is NotebookDocGenerator
    assert NotebookDocGenerator().formats == ("html", "md", "pdf", "ipynb")


def test_the_page_forbids_every_request_and_holds_no_script(document: SanitizedDocument) -> None:
    rendered = NotebookDocGenerator().render(document, "html")
    page = rendered.data.decode()
    assert (rendered.media_type, rendered.suffix) == ("text/html", ".html")
    policy = re.search(r'http-equiv="Content-Security-Policy"', page)
    assert policy
    assert "default-src 'none'" in page
    assert "script-src 'none'" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href|url\()\s*=?\s*["\']?(?:https?:)?//', page)


def test_the_page_shows_the_words_and_folds_the_code(document: SanitizedDocument) -> None:
    page = NotebookDocGenerator().render(document, "html").data.decode()
    assert "<title>It broke</title>" in page
    assert page.index("It broke</h1>") if "It broke</h1>" in page else "It broke" in page
    assert re.search(r"<details class=\"code\"><summary>code</summary>.*secret_free", page, re.DOTALL)
    assert "<td>7</td>" in page
    assert 'alt="a square"' in page
    assert "data:image/svg+xml;base64," in page


def test_markdown_is_made_of_words_tables_and_captions(document: SanitizedDocument) -> None:
    rendered = NotebookDocGenerator().render(document, "md")
    text = rendered.data.decode()
    assert rendered.suffix == ".md"
    assert text.startswith("# It broke\n")
    assert "*a square*" in text
    assert "seven" in text
    assert "secret_free" not in text
    assert "<table>" not in text


def test_the_notebook_comes_back_as_it_is(document: SanitizedDocument) -> None:
    rendered = NotebookDocGenerator().render(document, "ipynb")
    assert nbformat.reads(rendered.data.decode(), 4) == document.content


def test_two_renderings_are_equal(document: SanitizedDocument) -> None:
    generator = NotebookDocGenerator()
    assert generator.render(document, "html") == generator.render(document, "html")


def test_a_widget_brings_the_one_script_whose_hash_the_page_allows(
    gate: Gate, story: SimpleNamespace
) -> None:
    inv = story.INVESTIGATION
    chat = InsightChat(gate.context(build_context(inv), build_facts(inv)), lambda _q: iter(["because [E2]"]))
    chat.ask("why?")
    state = {"state": chat.get_state(), "model_name": "AnyModel", "model_module": "anywidget"}
    widgets = {"application/vnd.jupyter.widget-state+json": {"version_major": 2, "state": {"m1": state}}}
    content = _content({"widgets": widgets}, model_id="m1")
    page = NotebookDocGenerator().render(gate.document("incident", content), "html").data.decode()
    assert len(re.findall(r"<script type=\"module\">", page)) == 1
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}' blob:", page)
    assert "unsafe-inline'; script" not in page.split("style-src")[0]


def test_pdf_without_a_browser_says_what_to_install(
    document: SanitizedDocument, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DocumentError, match="apt-get install chromium"):
        NotebookDocGenerator().render(document, "pdf")


def test_an_unknown_format_is_refused(document: SanitizedDocument) -> None:
    with pytest.raises(DocumentError, match="One of: html, md, pdf, ipynb"):
        NotebookDocGenerator().render(document, "docx")


def test_a_document_that_is_no_notebook_is_refused(gate: Gate) -> None:
    with pytest.raises(DocumentError, match="not a notebook"):
        NotebookDocGenerator().render(gate.document("x", {"cells": 1}), "ipynb")
