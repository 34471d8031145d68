"""The incident as a notebook: its cells are the analysis, over a Parquet snapshot beside it.

    incident_notebook -> execute_notebook -> to_document -> gate.document -> write_notebook

The order matters: outputs hold telemetry, so only the gate's copy ever reaches the disk. The cells are in
`templates/incident.py.j2`, one Jinja template a cell.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from obsvty.errors import DocumentError
from obsvty.model import Investigation, JsonObject, rfc3339
from obsvty.privacy import Gate, LedgerEntry, SanitizedContext, SanitizedDocument

if TYPE_CHECKING:
    import jinja2
    from nbclient import NotebookClient
    from nbformat import NotebookNode

KERNEL: Final = "obsvty"
_TEMPLATE: Final = Path(__file__).parent / "templates" / "incident.py.j2"
_CELL: Final = re.compile(r"^# %%(?: (\[markdown\]|parameters))?$", re.MULTILINE)


def write_incident_notebook(
    investigation: Investigation,
    *,
    gate: Gate,
    snapshot: Mapping[str, Path],
    folder: Path,
    context: SanitizedContext | None = None,
    ledger: Sequence[LedgerEntry] = (),
    timeout_s: float = 120,
) -> Path:
    """Build, run, sanitize and write `<incident id>.ipynb` in `folder`; the path. Arguments as `incident_document`."""
    document = incident_document(
        investigation,
        gate=gate,
        snapshot=snapshot,
        folder=folder,
        context=context,
        ledger=ledger,
        timeout_s=timeout_s,
    )
    return write_notebook(document, folder / f"{investigation.incident_id}.ipynb")


def incident_document(
    investigation: Investigation,
    *,
    gate: Gate,
    snapshot: Mapping[str, Path],
    folder: Path,
    context: SanitizedContext | None = None,
    ledger: Sequence[LedgerEntry] = (),
    timeout_s: float = 120,
) -> SanitizedDocument:
    """The executed and sanitized incident notebook, ready for a `DocGenerator`.

    Args:
        investigation: the story; it has a baseline and a window.
        gate: of this incident.
        snapshot: table name -> Parquet file, e.g. `{"traces": folder / "traces.parquet"}`; all of them in `folder`.
        folder: where the notebook runs and will be written.
        context: what a model would get; counted in the notebook.
        ledger: rows of this incident.
        timeout_s: for each cell.

    Raises:
        DocumentError: there is no incident to document, a file is not in `folder`, or a cell failed.
        EgressBlocked: the gate refused.
    """
    notebook = incident_notebook(
        investigation, snapshot=snapshot, folder=folder, context=context, ledger=ledger
    )
    execute_notebook(notebook, folder, timeout_s=timeout_s)
    return gate.document(f"incident {investigation.incident_id}", to_document(notebook))


def incident_notebook(
    investigation: Investigation,
    *,
    snapshot: Mapping[str, Path],
    folder: Path,
    context: SanitizedContext | None = None,
    ledger: Sequence[LedgerEntry] = (),
) -> NotebookNode:
    """The notebook without outputs; raw, and equal for equal arguments. Raises `DocumentError`."""
    import nbformat.v4 as v4

    inv = investigation
    if inv.baseline is None or inv.window is None or not inv.findings:
        raise DocumentError(
            "There is no incident to document.", hint="obsvty incidents lists what was found."
        )
    values = {
        "inv": inv,
        "title": _title(inv),
        "service": inv.operation_diff.service if inv.operation_diff else inv.findings[0].service,
        "operation": inv.operation_diff.operation if inv.operation_diff else inv.findings[0].operation,
        "timeline": _timeline(inv),
        "has_logs": "logs" in snapshot,
        "context": context,
        "ledger": ledger,
    }
    cells: list[NotebookNode] = []
    for kind, template in _templates():
        source = _environment().from_string(template).render(values).strip()
        if not source:
            continue  # the whole cell was conditional
        cell = v4.new_markdown_cell(source) if kind == "[markdown]" else v4.new_code_cell(source)
        cell["id"] = f"cell-{len(cells) + 1:02}"  # nbformat's own ids are random
        if kind == "parameters":
            cell["metadata"]["tags"] = ["parameters"]
        cells.append(cell)
    return v4.new_notebook(
        cells=cells,
        metadata={
            "title": _title(inv),
            "kernelspec": {"name": KERNEL, "display_name": "Obsvty", "language": "python"},
            "obsvty": {"incident": inv.incident_id, "snapshot": _digests(snapshot, folder)},
        },
    )


def execute_notebook(notebook: NotebookNode, folder: Path, *, timeout_s: float = 120) -> None:
    """Run all cells in place on the obsvty kernel, with `folder` as working folder; widget state is kept.

    The kernel is started from this interpreter, whether or not a kernelspec is installed.

    Raises:
        DocumentError: a cell failed or ran longer than `timeout_s`. The message names the cell, never its output.
    """
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory(prefix="obsvty-kernel-") as sockets:
        # ipc: telemetry stays off the network stack, where other users of the machine could listen. The path is
        # absolute, because kernel and client have different working folders.
        own = [f"--ipython-dir={sockets}"]  # nobody's start-up files change the numbers

        class OwnKernel(KernelSpecManager):
            """Knows one kernel: this installation's."""

            def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
                argv = [sys.executable, "-m", "obsvty.notebook.kernel", "-f", "{connection_file}", *own]
                return KernelSpec(argv=argv, display_name="Obsvty", language="python", name=kernel_name)

        manager = AsyncKernelManager(
            kernel_name=KERNEL, kernel_spec_manager=OwnKernel(), transport="ipc", ip=f"{sockets}/k"
        )
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=int(timeout_s),
            resources={"metadata": {"path": str(folder)}},
            store_widget_state=True,
            record_timing=False,  # two runs of one notebook are equal
        )
        _run(client)


def _run(client: NotebookClient) -> None:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    try:
        client.execute(cleanup_kc=True)  # a kernel manager that is handed in is not cleaned up otherwise
    except CellExecutionError as exc:
        raise DocumentError(
            f"A cell of the incident notebook failed with {exc.ename}.",
            hint="Open the notebook with the Obsvty kernel and run it to see where.",
        ) from exc
    except (CellTimeoutError, RuntimeError) as exc:  # RuntimeError: the kernel died, or never came up
        # it is cleaned up by now; nbclient would try again at exit, and print a traceback about it
        atexit.unregister(client._cleanup_kernel)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        raise DocumentError(
            f"The incident notebook did not finish ({type(exc).__name__}).",
            hint="Try again when the machine is less busy.",
        ) from exc


def to_document(notebook: NotebookNode) -> JsonObject:
    """The notebook as plain JSON for the gate; each text is one string, so that nothing hides across lines."""
    return cast("JsonObject", json.loads(json.dumps(notebook)))


def write_notebook(document: SanitizedDocument, path: Path) -> Path:
    """Write a sanitized notebook; an older file of that name is replaced in one step. Raises `DocumentError`."""
    import nbformat

    node = nbformat.from_dict(document.content)
    try:
        nbformat.validate(node)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".ipynb.new")
        draft.write_text(nbformat.writes(node) + "\n", encoding="utf-8")
        draft.replace(path)
    except nbformat.ValidationError as exc:
        raise DocumentError("The sanitized notebook is not a valid notebook.") from exc
    except OSError as exc:
        raise DocumentError(f"{path} cannot be written.", hint="Choose another folder.") from exc
    return path


def _title(inv: Investigation) -> str:
    first = inv.findings[0]
    factor = f", x{first.after / first.before:.1f}" if first.before > 0 else ""
    moved = f"{_number(first.before)} to {_number(first.after)} {first.unit}".strip()
    return f"{first.operation} ({first.service}): {first.kind.replace('_', ' ')} {moved}{factor}"


def _timeline(inv: Investigation) -> list[tuple[datetime, str]]:
    """What happened when; the moments are the ones that detection computed."""
    moments: list[tuple[datetime, str]] = []
    if inv.baseline:
        moments.append((inv.baseline.start, "the baseline begins"))
    if inv.suspects:
        commit = inv.suspects[0].commit
        moments.append((commit.time, f"{commit.revision[:8]} was committed: {commit.subject}"))
    if inv.deployment:
        d = inv.deployment
        moments.append((d.at, f"{d.service} runs {d.to_version or d.to_revision[:7]}"))
    for f in inv.findings:
        moved = f"{_number(f.before)} to {_number(f.after)} {f.unit}".strip()
        moments.append(
            (f.change_at, f"{f.id} {f.kind.replace('_', ' ')} of {f.operation} ({f.service}): {moved}")
        )
    if inv.end:
        moments.append((inv.end, "the incident ends"))
    return sorted(moments)


def _digests(snapshot: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """File name -> SHA-256: which data the numbers belong to."""
    digests: dict[str, str] = {}
    for name, path in sorted(snapshot.items()):
        if path.resolve() != (folder / f"{name}.parquet").resolve() or not path.is_file():
            raise DocumentError(
                f"The snapshot of {name} is not {name}.parquet beside the notebook.",
                hint="Write the snapshot into the notebook's folder first.",
            )
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def _templates() -> list[tuple[str, str]]:
    """(kind, template) of each cell. They are split before they are rendered, so no value can begin a cell."""
    pieces = _CELL.split(_TEMPLATE.read_text(encoding="utf-8"))
    return [(kind or "code", text) for kind, text in zip(pieces[1::2], pieces[2::2], strict=True)]


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 Markdown and Python, not HTML; `md`, `code`, `diff` and `literal` escape
    )
    environment.filters.update(md=_md, code=_code, diff=_diff, literal=repr, time=rfc3339)
    return environment


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _md(text: str) -> str:
    """One line of Markdown that shows exactly `text`: no markup, link, image or HTML in it comes alive."""
    line = re.sub(r"([\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(_printable(text).split()))
    line = line.replace("://", "\\://")  # else a URL becomes a link
    line = re.sub(r"^(#{1,6}|[-+]|=+|-+)(?=\s|$)", r"\\\1", line)
    return re.sub(r"^(\d+)(?=[.)](?:\s|$))", r"\1\\", line)


def _code(text: str) -> str:
    """A code span."""
    return "`" + " ".join(_printable(text).replace("`", "'").replace("|", "¦").split()) + "`"


def _diff(text: str) -> str:
    """A fenced block; the fence is longer than any run of backticks inside."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}diff\n{_printable(text).rstrip()}\n{ticks}"


def _printable(text: str) -> str:
    """Without control characters and bidirectional overrides, which could hide what a diff says."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "", text)
