"""A sanitized notebook as HTML, Markdown, PDF or a notebook. No output asks anything of the network.

The HTML is one file: pictures are embedded, and its Content-Security-Policy forbids every request, so that a reader's
browser tells nobody about the incident. Code is folded. Scripts run only where a widget is shown.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, cast

from obsvty.errors import DocumentError
from obsvty.model import JsonObject
from obsvty.ports import DocGenerator, RenderedDocument
from obsvty.privacy import SanitizedDocument

if TYPE_CHECKING:
    from nbformat import NotebookNode

_TEMPLATES: Final = Path(__file__).parent / "nbtemplates"
_WIDGET_STATE: Final = "application/vnd.jupyter.widget-state+json"
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PDF_TIMEOUT_S: Final = 120


class NotebookDocGenerator(DocGenerator):
    """nbconvert with a template of our own. PDF is the HTML printed by a local Chromium, where there is one."""

    name: ClassVar[str] = "notebook"

    @property
    def formats(self) -> Sequence[str]:
        """HTML first: it is what people send each other."""
        return ("html", "md", "pdf", "ipynb")

    def render(self, document: SanitizedDocument, to: str) -> RenderedDocument:
        """The document in one of `formats`."""
        match to:
            case "html":
                return RenderedDocument(data=_html(document).encode(), media_type="text/html", suffix=".html")
            case "md":
                return RenderedDocument(
                    data=_markdown(document).encode(), media_type="text/markdown", suffix=".md"
                )
            case "pdf":
                browser = _browser()  # before the work, not after it
                return RenderedDocument(
                    data=_print(_html(document), browser), media_type="application/pdf", suffix=".pdf"
                )
            case "ipynb":
                return RenderedDocument(
                    data=_notebook_text(document).encode(),
                    media_type="application/x-ipynb+json",
                    suffix=".ipynb",
                )
            case _:
                raise DocumentError(
                    "The document generator does not know that format.",
                    hint=f"One of: {', '.join(self.formats)}.",
                )


def _node(document: SanitizedDocument) -> NotebookNode:
    import nbformat

    node = cast("NotebookNode", nbformat.from_dict(document.content))
    try:
        nbformat.validate(node)
    except nbformat.ValidationError as exc:
        raise DocumentError("The document is not a notebook.") from exc
    return node


def _notebook_text(document: SanitizedDocument) -> str:
    import nbformat

    return nbformat.writes(_node(document)) + "\n"


def _html(document: SanitizedDocument) -> str:
    from nbconvert.exporters.html import HTMLExporter
    from traitlets.config import Config

    host = (
        (_TEMPLATES / "obsvty" / "widgets.js").read_text(encoding="utf-8")
        if _has_widgets(document.content)
        else ""
    )
    exporter = HTMLExporter(
        template_name="obsvty",
        extra_template_basedirs=[str(_TEMPLATES)],
        config=Config(
            {
                "NbConvertBase": {
                    "display_data_priority": [
                        "application/vnd.jupyter.widget-view+json",
                        "text/html",
                        "image/svg+xml",
                        "text/markdown",
                        "image/png",
                        "image/jpeg",
                        "text/plain",
                    ]
                }
            }
        ),
    )
    ours = {"name": document.name, "csp": _policy(host), "host": host}
    text, _ = exporter.from_notebook_node(_node(document), resources={"obsvty": ours})
    return text


def _policy(host: str) -> str:
    """No request at all; scripts only by their hash, so that one that came with a value stays dead."""
    digest = base64.b64encode(hashlib.sha256(host.encode()).digest()).decode()
    script = f"'sha256-{digest}' blob:" if host else "'none'"
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {script}; base-uri 'none'; form-action 'none'"
    )


def _has_widgets(content: JsonObject) -> bool:
    metadata = content.get("metadata")
    widgets = metadata.get("widgets") if isinstance(metadata, Mapping) else None
    return isinstance(widgets, Mapping) and _WIDGET_STATE in widgets


def _markdown(document: SanitizedDocument) -> str:
    from nbconvert.exporters.markdown import MarkdownExporter
    from traitlets.config import Config

    exporter = MarkdownExporter(
        exclude_input=True,
        config=Config(
            {
                "NbConvertBase": {"display_data_priority": ["text/markdown", "text/plain"]},
                "ExtractOutputPreprocessor": {"enabled": False},
            }
        ),
    )
    text, _ = exporter.from_notebook_node(_node(document))
    return text.strip() + "\n"


def _browser() -> str:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise DocumentError(
            "PDF needs Chromium, and none is on the PATH.",
            hint="Install it (Debian: apt-get install chromium), or ask for html.",
        )
    return found


def _print(page: str, browser: str) -> bytes:
    """Print a page to PDF. The browser can resolve no name, so it can fetch nothing."""
    with tempfile.TemporaryDirectory(prefix="obsvty-pdf-") as name:
        folder = Path(name)
        source, target = folder / "report.html", folder / "report.pdf"
        source.write_text(page, encoding="utf-8")
        command = [
            browser,
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium refuses to sandbox as root
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--no-pdf-header-footer",
            "--virtual-time-budget=4000",  # lets widgets draw
            f"--print-to-pdf={target}",
            source.as_uri(),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_PDF_TIMEOUT_S)
            return target.read_bytes()
        except (OSError, subprocess.SubprocessError) as exc:
            raise DocumentError(
                "Chromium did not print the report.", hint="Ask for html and print it from a browser."
            ) from exc
