"""What a rich repr is made of: a few blocks, each drawn as plain text, Markdown and HTML from the same values.

Values come from telemetry and commits, so they are hostile until escaped: HTML goes through `html.escape`, Markdown
through `md`, plain text loses its control characters. Colours are JupyterLab's variables with a light fallback.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

_INK: Final = "var(--jp-content-font-color1, #1f2328)"
_MUTED: Final = "var(--jp-content-font-color2, #59636e)"
_LINE: Final = "var(--jp-border-color2, #d1d9e0)"
_SOFT: Final = "var(--jp-layout-color2, #f6f8fa)"
_MONO: Final = "var(--jp-code-font-family, ui-monospace, SFMono-Regular, Menlo, monospace)"

TONES: Final = {"bad": "#c4314b", "warn": "#9a6700", "good": "#1a7f37", "info": "#0b62c4"}


@dataclass(frozen=True)
class Title:
    """The first line, with a coloured chip beside it."""

    text: str
    chip: str = ""
    tone: str = "info"  # a key of TONES


@dataclass(frozen=True)
class Para:
    """A sentence or two; `label` is set in small capitals before it."""

    text: str
    label: str = ""


@dataclass(frozen=True)
class Fields:
    """Label and value, one pair a line."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Grid:
    """A table. `numeric` names the columns that are set flush right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[str] = field(default_factory=frozenset[str])
    note: str = ""


@dataclass(frozen=True)
class Diff:
    """Unified-diff lines of one file."""

    file: str
    text: str


Block: TypeAlias = Title | Para | Fields | Grid | Diff


def to_text(blocks: Sequence[Block]) -> str:
    """The blocks as plain text, for terminals and as the fallback of every output."""
    return "\n".join(_text(block) for block in blocks).strip()


def _text(block: Block) -> str:
    match block:
        case Title():
            return plain(f"{block.text}  [{block.chip}]" if block.chip else block.text)
        case Para():
            return plain(f"{block.label}: {block.text}" if block.label else block.text)
        case Fields():
            width = max((len(label) for label, _ in block.rows), default=0)
            return "\n".join(f"{plain(label):<{width}}  {plain(value)}" for label, value in block.rows)
        case Grid():
            table = [[plain(cell) for cell in row] for row in (block.columns, *block.rows)]
            widths = [min(60, max(len(row[i]) for row in table)) for i in range(len(block.columns))]
            lines = [_text_row(row, widths, block) for row in table]
            return "\n".join([*lines, *([block.note] if block.note else [])])
        case Diff():
            return "\n".join([plain(block.file), *(plain(line) for line in block.text.splitlines())])


def _text_row(row: Sequence[str], widths: Sequence[int], grid: Grid) -> str:
    cells = [
        f"{cell[:width]:>{width}}" if column in grid.numeric else f"{cell[:width]:<{width}}"
        for column, cell, width in zip(grid.columns, row, widths, strict=True)
    ]
    return "  ".join(cells).rstrip()


def to_markdown(blocks: Sequence[Block]) -> str:
    """The blocks as GitHub-flavoured Markdown."""
    return "\n\n".join(_markdown(block) for block in blocks)


def _markdown(block: Block) -> str:
    match block:
        case Title():
            return f"**{md(block.text)}**" + (f" · {md(block.chip)}" if block.chip else "")
        case Para():
            return (f"**{md(block.label)}:** " if block.label else "") + md(block.text)
        case Fields():
            return "\n".join(f"- **{md(label)}:** {md(value)}" for label, value in block.rows)
        case Grid():
            rule = ["---:" if column in block.numeric else "---" for column in block.columns]
            rows = [[md(c) for c in block.columns], rule, *([md(c) for c in row] for row in block.rows)]
            lines = ["| " + " | ".join(row) + " |" for row in rows]
            return "\n".join([*lines, *(["", md(block.note)] if block.note else [])])
        case Diff():
            ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
            return f"{md(block.file)}\n\n{ticks}diff\n{block.text}\n{ticks}"


def to_html(blocks: Sequence[Block]) -> str:
    """The blocks as one self-contained element: inline styles, no script, every value escaped."""
    tone = next((TONES[b.tone] for b in blocks if isinstance(b, Title) and b.chip), _LINE)
    body = "".join(_html(block) for block in blocks)
    edge = f"border-left:4px solid {tone};padding:2px 0 2px 14px;" if tone != _LINE else ""
    return f'<div class="obsvty" style="{edge}color:{_INK};line-height:1.45;margin:4px 0">{body}</div>'


def _html(block: Block) -> str:
    match block:
        case Title():
            chip = (
                f'<span style="background:{TONES[block.tone]};color:#fff;border-radius:10px;padding:1px 9px;'
                f'font-size:12px;font-weight:600;margin-left:10px;white-space:nowrap">{_h(block.chip)}</span>'
            )
            shown = chip if block.chip else ""
            return (
                f'<div style="font-size:17px;font-weight:650;margin:2px 0 8px">{_h(block.text)}{shown}</div>'
            )
        case Para():
            label = f'<span style="{_label()}">{_h(block.label)}</span> ' if block.label else ""
            return f'<p style="margin:8px 0;max-width:90ch">{label}{_h(block.text)}</p>'
        case Fields():
            rows = "".join(
                f'<div style="{_label()};padding-top:2px">{_h(label)}</div>'
                f'<div style="overflow-wrap:anywhere">{_h(value)}</div>'
                for label, value in block.rows
            )
            return (
                '<div style="display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 16px;'
                f'margin:6px 0">{rows}</div>'
            )
        case Grid():
            return _html_grid(block)
        case Diff():
            lines = "".join(_html_diff_line(line) for line in block.text.splitlines())
            return (
                f'<div style="margin:8px 0;border:1px solid {_LINE};border-radius:6px;overflow:auto">'
                f'<div style="background:{_SOFT};padding:4px 10px;font:12px {_MONO}">{_h(block.file)}</div>'
                f'<div style="font:12px/1.5 {_MONO};white-space:pre;min-width:max-content">{lines}</div></div>'
            )


def _html_grid(grid: Grid) -> str:
    def cell(tag: str, column: str, text: str) -> str:
        side = "right" if column in grid.numeric else "left"
        wrap = "white-space:nowrap;font-variant-numeric:tabular-nums" if column in grid.numeric else ""
        head = f"{_label()};background:{_SOFT};" if tag == "th" else "overflow-wrap:break-word;"
        style = f"text-align:{side};padding:4px 10px;border-bottom:1px solid {_LINE};vertical-align:top;{head}{wrap}"
        scope = ' scope="col"' if tag == "th" else ""
        return f'<{tag}{scope} style="{style}">{_h(text)}</{tag}>'

    head = "".join(cell("th", column, column) for column in grid.columns)
    body = "".join(
        "<tr>" + "".join(cell("td", c, v) for c, v in zip(grid.columns, row, strict=True)) + "</tr>"
        for row in grid.rows
    )
    note = f'<div style="color:{_MUTED};font-size:12px;padding:4px 10px">{_h(grid.note)}</div>'
    return (
        '<div style="overflow-x:auto;margin:8px 0"><table style="border-collapse:collapse;font-size:13px;margin:0">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note if grid.note else ''}</div>"
    )


def _html_diff_line(line: str) -> str:
    # translucent, so that they work on a dark page too
    tint = {"+": "background:rgba(46,160,67,.18)", "-": "background:rgba(248,81,73,.18)"}
    style = f"color:{_MUTED}" if line.startswith("@@") else tint.get(line[:1], "")
    return f'<div style="padding:0 10px;{style}">{_h(line) or "&nbsp;"}</div>'


def _label() -> str:
    return f"color:{_MUTED};font-size:12px;font-weight:600"


def _h(text: str) -> str:
    return html.escape(plain(text))


def plain(text: str) -> str:
    """Without control characters (a span name may hold terminal escapes) and bidirectional overrides."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "", text.replace("\t", "    "))


def md(text: str) -> str:
    """One line of Markdown that shows exactly `text`: no markup, link, image or HTML in it comes alive."""
    line = re.sub(r"([\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(plain(text).split()))
    line = line.replace("://", "\\://")  # else a URL becomes a link
    line = re.sub(r"^(#{1,6}|[-+]|=+|-+)(?=\s|$)", r"\\\1", line)
    return re.sub(r"^(\d+)(?=[.)](?:\s|$))", r"\1\\", line)
