"""A query's result as text."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_CELL = 60  # characters of a cell in a table on the screen


def as_text(result: pa.Table, form: str) -> str:
    """`result` as json (one array of objects), csv, or a table for the screen; ends with a newline."""
    rows = result.to_pylist()
    if form == "json":
        return json.dumps(rows, indent=2, default=str, ensure_ascii=False) + "\n"
    if form == "csv":
        import csv

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(result.column_names)
        writer.writerows([_cell(v) for v in row.values()] for row in rows)
        return out.getvalue()
    cells = [[_cut(_cell(v)) for v in row.values()] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(result.column_names)]
    right = [_is_number(result, i) for i in range(result.num_columns)]
    lines = [_line(result.column_names, widths, right), "  ".join("-" * w for w in widths)]
    lines += [_line(row, widths, right) for row in cells]
    return "\n".join([*lines, f"({len(rows)} row{'s' if len(rows) != 1 else ''})"]) + "\n"


def _is_number(result: pa.Table, column: int) -> bool:
    import pyarrow.types as types

    kind = result.schema.field(column).type
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _line(row: list[str], widths: list[int], right: list[bool]) -> str:
    return "  ".join(
        c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)
    ).rstrip()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
