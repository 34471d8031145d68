"""Rich reprs of the values in `model.py`, registered in IPython by type, so that the model never hears of IPython.

Each value becomes blocks (`views.py`), and the blocks become text/plain, text/markdown and text/html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from obsvty.model import (
    Attribution,
    Deployment,
    Incident,
    Insight,
    Investigation,
    OperationDiff,
    ServiceMap,
    Suspect,
)
from obsvty.notebook import views
from obsvty.notebook.blocks import Block, plain, to_html, to_markdown, to_text
from obsvty.privacy import LedgerEntry, SanitizedContext, SanitizedText

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from IPython.core.formatters import DisplayFormatter
    from IPython.core.interactiveshell import InteractiveShell

_ROWS: Final = 20  # rows of a table that are shown; one more is fetched to know whether that is all
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Text:
    """Text whose repr is itself."""

    text: str

    def __repr__(self) -> str:
        return plain(self.text)


@dataclass(frozen=True)
class LedgerView:
    """Rows of the egress ledger as a table: what left, where to, how much."""

    entries: tuple[LedgerEntry, ...]


class _Pretty(Protocol):
    def text(self, obj: str) -> None: ...


class _Formatter(Protocol):
    """What IPython's formatters offer; its own annotations do not say."""

    def for_type(self, typ: type, func: object) -> object: ...
    def for_type_by_name(self, type_module: str, type_name: str, func: object) -> object: ...


def register(shell: InteractiveShell) -> None:
    """Teach this IPython the reprs. Ibis tables are registered by name: Ibis is not imported for it."""
    _register(shell, Investigation, views.investigation)
    _register(shell, Incident, views.incident)
    _register(shell, Attribution, views.attribution)
    _register(shell, Suspect, views.suspect)
    _register(shell, OperationDiff, views.operation_diff)
    _register(shell, ServiceMap, views.service_map)
    _register(shell, Deployment, views.deployment)
    _register(shell, Insight, views.insight)
    _register(shell, SanitizedContext, views.context)
    _register(shell, SanitizedText, lambda value: [views.Para(value.text)])
    _register(shell, LedgerView, lambda view: views.ledger(view.entries))
    plain_text, markdown, page = _formatters(table_blocks)
    formatters = _formatters_of(shell)
    for mime, formatter in (("text/plain", plain_text), ("text/markdown", markdown), ("text/html", page)):
        formatters[mime].for_type_by_name("ibis.expr.types.relations", "Table", formatter)


def _formatters_of(shell: InteractiveShell) -> Mapping[str, _Formatter]:
    display_formatter = cast("DisplayFormatter", shell.display_formatter)
    return cast("Mapping[str, _Formatter]", display_formatter.formatters)


def mimebundle(blocks: Sequence[Block]) -> dict[str, str]:
    """The three forms of the same blocks."""
    return {"text/plain": to_text(blocks), "text/markdown": to_markdown(blocks), "text/html": to_html(blocks)}


def table_blocks(table: ir.Table) -> list[Block]:
    """The first rows of a table; runs the query."""
    rows = table.limit(_ROWS + 1).to_pyarrow()
    note = f"the first {_ROWS} rows" if rows.num_rows > _ROWS else ""
    numeric = frozenset(n for n, t in table.schema().items() if t.is_numeric())
    cells = [[_cell(row[name]) for name in rows.column_names] for row in rows.slice(0, _ROWS).to_pylist()]
    return [views.Grid(tuple(rows.column_names), cells, numeric, note or ("no rows" if not cells else ""))]


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:,.3f}".rstrip("0").rstrip(".")
        case datetime():
            text = value.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
        case list():
            text = ", ".join(f"{k}={v}" if (k, v) else "" for k, v in _pairs(value)) or str(value)
        case _:
            text = str(value)
    return text if len(text) <= 160 else text[:159] + "…"


def _pairs(items: Sequence[object]) -> list[tuple[object, object]]:
    """The pairs of an Arrow map, which arrives as a list of tuples; empty for any other list."""
    pairs = [(item[0], item[1]) for item in items if isinstance(item, tuple) and len(item) == 2]
    return pairs if len(pairs) == len(items) else []


def _register(shell: InteractiveShell, kind: type[_Value], view: Callable[[_Value], Sequence[Block]]) -> None:
    plain_text, markdown, page = _formatters(view)
    formatters = _formatters_of(shell)
    formatters["text/plain"].for_type(kind, plain_text)
    formatters["text/markdown"].for_type(kind, markdown)
    formatters["text/html"].for_type(kind, page)


def _formatters(
    view: Callable[[_Value], Sequence[Block]],
) -> tuple[Callable[[_Value, _Pretty, bool], None], Callable[[_Value], str], Callable[[_Value], str]]:
    def plain_text(value: _Value, printer: _Pretty, cycle: bool) -> None:
        del cycle
        printer.text(to_text(view(value)))

    return plain_text, lambda value: to_markdown(view(value)), lambda value: to_html(view(value))
