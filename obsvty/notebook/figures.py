"""Figures as SVG text, drawn in plain Python: they show in Lab, in the HTML report and on GitHub, without any script.

White card, system fonts, no external reference; every label is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from obsvty.model import EdgeChange, OperationDiff, from_ns
from obsvty.notebook.blocks import md, plain

_WIDTH: Final = 860
_FONT: Final = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', sans-serif"
_INK, _MUTED, _LINE = "#1f2328", "#59636e", "#d1d9e0"
_BEFORE, _AFTER = "#5b8db8", "#c4314b"
_COLORS: Final = ("#c4314b", "#e07b39", "#d9b23c", "#8f63b8", "#3f8f8b", "#5b8db8")
_REST: Final = "#b6bec7"
_SEGMENTS: Final = 6  # edges with a colour of their own; the others are one grey segment


@dataclass(frozen=True)
class Figure:
    """An SVG picture and the sentence that says the same; IPython shows both."""

    svg: str
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        return {"text/plain": self.alt, "text/markdown": f"*{md(self.alt)}*", "image/svg+xml": self.svg}


def latency_figure(
    points: Sequence[tuple[int, float]], *, change_ns: int, label: str = "", deployed: str = ""
) -> Figure:
    """Each request as a dot over time, with the median before and after the change as steps.

    Args:
        points: (start in Unix nanoseconds, milliseconds), in any order.
        change_ns: where before ends and after begins, Unix nanoseconds.
        label: what was measured, e.g. the operation.
        deployed: what happened at the change, written at the line, e.g. `1.4.0 -> 1.5.0`.
    """
    if not points:
        return Figure(_card("", 60, "no requests"), "no requests")
    points = sorted(points)
    first, last = points[0][0], points[-1][0]
    span = max(1, last - first)
    before = [ms for at, ms in points if at < change_ns]
    after = [ms for at, ms in points if at >= change_ns]
    top = _nice(max(ms for _, ms in points) * 1.12)
    left, right, head, foot, height = 56, 20, 46, 34, 300

    def x(at: int) -> float:
        return left + (_WIDTH - left - right) * (at - first) / span

    def y(ms: float) -> float:
        return head + (height - head - foot) * (1 - ms / top)

    parts: list[str] = []
    for i in range(5):
        value = top * i / 4
        parts.append(_line(left, y(value), _WIDTH - right, y(value), _LINE))
        parts.append(_label(left - 8, y(value) + 4, f"{value:,.0f}", "end", _MUTED))
    for i in range(5):
        at = first + span * i // 4
        anchor = ("start", "middle", "middle", "middle", "end")[i]
        parts.append(_label(x(at), height - 12, f"{from_ns(at):%H:%M:%S}", anchor, _MUTED))
    parts.extend(
        f'<circle cx="{x(at):.1f}" cy="{y(ms):.1f}" r="3.2" fill="{_BEFORE if at < change_ns else _AFTER}" '
        'fill-opacity="0.55"/>'
        for at, ms in points
    )
    at_change = x(min(max(change_ns, first), last))
    parts.append(_line(at_change, head - 6, at_change, height - foot, _INK, dash="4 3"))
    if deployed:
        end = at_change > _WIDTH * 0.7
        parts.append(
            _label(at_change + (-7 if end else 7), head + 4, deployed, "end" if end else "start", _INK)
        )
    for side, color, x1, x2 in (
        (before, _BEFORE, left, at_change),
        (after, _AFTER, at_change, _WIDTH - right),
    ):
        if side:
            middle = median(side)
            parts.append(_line(x1, y(middle), x2, y(middle), color, width=2.5))
            parts.append(
                _label((x1 + x2) / 2, y(middle) - 8, f"p50 {middle:,.0f} ms", "middle", color, bold=True)
            )
    title = f"Latency of {label}, ms per request (UTC)" if label else "Latency, ms per request (UTC)"
    said = f"p50 {median(before):,.0f} ms before" if before else "no request before"
    then = f"{median(after):,.0f} ms after" if after else "no request after"
    return Figure(_card("".join(parts), height, title), f"{title}: {said}, {then} ({len(points)} requests)")


def edges_figure(diff: OperationDiff) -> Figure:
    """Where the time of one request goes, before and after: two stacked bars on one scale, edge by edge."""
    named = [e for e in diff.edges if max(e.ms_before, e.ms_after) > 0][:_SEGMENTS]
    colors = {id(e): _COLORS[i] for i, e in enumerate(named)}
    scale = max(diff.ms_before, diff.ms_after, 0.001)
    left, right, head, bar = 70, 90, 50, 30
    legend_at = head + 2 * (bar + 12) + 22
    height = legend_at + 20 * len(named) + 14

    def stack(top: float, total: float, name: str, before: bool) -> list[str]:
        parts = [_label(left - 12, top + bar / 2 + 5, name, "end", _INK)]
        at = float(left)
        shown = 0.0
        for edge in sorted(named, key=lambda e: (e.delta_ms, e.edge)):
            ms = edge.ms_before if before else edge.ms_after
            if ms <= 0:
                continue
            width = (_WIDTH - left - right) * ms / scale
            parts.append(_rect(at, top, width, bar, colors[id(edge)]))
            at += width
            shown += ms
        rest = max(0.0, total - shown)
        width = (_WIDTH - left - right) * rest / scale
        if width >= 1:
            parts.append(_rect(at, top, width, bar, _REST))
            at += width
        parts.append(_label(at + 8, top + bar / 2 + 5, f"{total:,.0f} ms", "start", _INK, bold=True))
        return parts

    parts = [
        *stack(head, diff.ms_before, "before", before=True),
        *stack(head + bar + 12, diff.ms_after, "after", before=False),
    ]
    for i, edge in enumerate(named):
        y = legend_at + 20 * i
        parts.append(_rect(left, y, 11, 11, colors[id(edge)]))
        parts.append(_label(left + 19, y + 10, _short(f"{edge.edge} ({edge.service})", 72), "start", _INK))
        parts.append(_label(_WIDTH - 210, y + 10, _calls(edge), "end", _MUTED))
        parts.append(
            _label(_WIDTH - 20, y + 10, f"{edge.ms_before:,.1f} -> {edge.ms_after:,.1f} ms", "end", _INK)
        )
    title = f"Where one {diff.operation} spends its time (mean ms of self time)"
    largest = named[0] if named else None
    most = f"; {largest.edge} adds {largest.delta_ms:,.0f} ms" if largest and largest.delta_ms > 0 else ""
    alt = f"{diff.operation}: {diff.ms_before:,.0f} ms before, {diff.ms_after:,.0f} ms after{most}"
    return Figure(_card("".join(parts), height, title), alt)


def _calls(edge: EdgeChange) -> str:
    if edge.edge == "self":
        return ""
    return f"{edge.calls_before:.3g} -> {edge.calls_after:.3g} calls"


def _nice(value: float) -> float:
    """The next 1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8 times a power of ten: quarters of it are round."""
    power = 1.0
    while value > 10 * power:
        power *= 10
    while value <= power and power > 1e-9:
        power /= 10
    return next(power * step for step in (1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if value <= power * step)


def _short(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _card(body: str, height: float, title: str) -> str:
    heading = _label(20, 25, _short(title, 100), "start", _INK, bold=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" role="img" font-family="{_FONT}" font-size="12">'
        f"<title>{html.escape(plain(title))}</title>"
        f'<rect width="{_WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff"/>{heading}{body}</svg>'
    )


def _label(x: float, y: float, text: str, anchor: str, color: str, *, bold: bool = False) -> str:
    # the halo keeps bold labels readable over dots
    weight = ' font-weight="650" paint-order="stroke" stroke="#fff" stroke-width="4"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}"{weight}>'
        f"{html.escape(plain(text))}</text>"
    )


def _rect(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}" rx="2"/>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str, *, width: float = 1, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
        f'stroke-width="{width}"{dashes}/>'
    )
