"""The incident's folder: a pinned snapshot, the notebook that runs on it, and the page made from the notebook."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from obsvty.deliver.notebook import incident_document, write_notebook
from obsvty.errors import DocumentError, UsageError
from obsvty.model import Investigation, Window

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from obsvty.ports import DocGenerator
    from obsvty.privacy import Gate, Ledger, SanitizedContext
    from obsvty.store.reader import Reader


def write_report(
    inv: Investigation,
    *,
    reader: Reader,
    gate: Gate,
    context: SanitizedContext,
    ledger: Ledger,
    generator: DocGenerator,
    to: str,
    folder: Path,
    output: Path | None = None,
    progress: Callable[[str], None] = lambda _step: None,
) -> Path:
    """Write the incident's snapshot and notebook into `folder`, and the document beside them or to `output`.

    Args:
        inv: the story; it has a baseline and a window.
        reader: the store.
        gate: of this incident; everything written but the snapshot passes it.
        context: what a model would get.
        ledger: what left.
        generator: renders the document.
        to: one of the generator's formats.
        folder: where; made when it is not there.
        output: another place for the document.
        progress: told each step's name as it begins.

    Returns:
        The document's path.

    Raises:
        UsageError: the generator does not know the format. DocumentError: there is nothing to report, the notebook
            did not run, or the format needs something that is not installed.
    """
    if to not in generator.formats:
        raise UsageError(
            "No document has that format.", hint=f"Choose one of: {', '.join(generator.formats)}."
        )
    if inv.baseline is None or inv.window is None:
        raise DocumentError("There is no incident to report.")
    folder.mkdir(parents=True, exist_ok=True)
    progress("Pinning the data")
    pinned = Window(start=inv.baseline.start, end=inv.window.end)
    tables = incident_tables(reader.table("traces"), reader.table("logs"), inv, pinned)
    snapshot = {path.stem: path for path in reader.snapshot(tables, folder)}
    progress("Running the notebook")
    document = incident_document(
        inv,
        gate=gate,
        snapshot=snapshot,
        folder=folder,
        context=context,
        ledger=ledger.entries(incident_id=inv.incident_id),
    )
    notebook = write_notebook(document, folder / f"{inv.incident_id}.ipynb")
    if to == "ipynb" and output is None:
        return notebook
    progress("Rendering the report")
    rendered = generator.render(document, to)
    path = output or folder / f"{inv.incident_id}{rendered.suffix}"
    path.write_bytes(rendered.data)
    return path


def incident_tables(
    traces: ir.Table, logs: ir.Table, inv: Investigation, pinned: Window
) -> dict[str, ir.Table]:
    """The spans and logs that the incident's notebook runs on: whole traces of its operations, in both windows.

    Other operations of other services are left out: a snapshot is kept for years and may be handed on.
    """
    within = traces.filter(traces.start_ns >= pinned.start_ns, traces.start_ns < pinned.end_ns)
    services = {f.service for f in inv.findings}
    touched = within.filter(within.service_name.isin(sorted(services))).select("trace_id").distinct()
    spans = within.semi_join(touched, "trace_id").order_by("start_ns", "span_id")
    records = logs.filter(
        logs.time_ns >= pinned.start_ns,
        logs.time_ns < pinned.end_ns,
        logs.service_name.isin(sorted(services)),
    ).order_by("time_ns", "span_id")
    return {"traces": spans, "logs": records}
